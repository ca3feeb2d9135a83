"""Executing action chunks safely: the plan, its blending and smoothing, limits, guard and commander."""
