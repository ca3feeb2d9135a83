"""Thin rinds: parameters, subscriptions, timers. No arithmetic."""
