"""Hearing that the scene is another one: put anew by a simulator or a person, or an episode that begins or ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Empty, String

from vla_ros.ros.listening.everyone import hear_everyone

NEW_SCENE = "new_scene"  # std_msgs/Empty: things lie elsewhere now, and what was seen before is of the past


def hear_new_scenes(node: Node, episode_topic: str, callback: Callable[[], None]) -> list[Any]:
    """Subscribe to `new_scene` and to the episode marks, whatever they say; return the subscriptions."""
    return [
        *hear_everyone(node, Empty, NEW_SCENE, lambda _: callback(), latched=False),
        *hear_everyone(node, String, episode_topic, lambda _: callback(), latched=False),
    ]
