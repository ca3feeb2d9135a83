"""Demonstrations, the training loop, and evaluation in the simulator."""
