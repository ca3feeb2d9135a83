"""Training of the Unified World Model."""
