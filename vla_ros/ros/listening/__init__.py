"""Hearing publishers of every quality of service, and each message once."""
