"""Fused and packed kernels for the samplers."""
