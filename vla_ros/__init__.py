"""vla_ros: vision-language-action and unified-world-model policies on ROS 2 robots."""

__version__ = "0.1.0"
