"""Thin rinds: parameters, subscriptions, timers. No arithmetic."""

from vla_ros.ros.process.environment import refuse_middleware

refuse_middleware()  # here: where it is absent, `import rclpy` in any file of this room ends the process without advice
