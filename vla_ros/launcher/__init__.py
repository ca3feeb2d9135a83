"""Runs launch files if `ros2 launch` is not installed: a strict, small subset of its YAML format."""
