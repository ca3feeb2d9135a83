"""Runs launch files where ROS 2's own `ros2 launch` is not installed: a strict, small subset of its YAML format."""
