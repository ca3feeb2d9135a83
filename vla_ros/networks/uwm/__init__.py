"""The Unified World Model, its encoders and its samplers."""
