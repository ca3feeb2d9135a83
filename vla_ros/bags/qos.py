"""A live publisher's quality of service as a bag stores it. rclpy and rosbags number the policies alike."""

from __future__ import annotations

from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from vla_ros.core.types import NS_PER_S


def qos_of(profile: Any) -> Qos:
    """Convert an rclpy QoSProfile, as the graph reports it."""
    return Qos(
        QosHistory(int(profile.history)),
        int(profile.depth),
        QosReliability(int(profile.reliability)),
        QosDurability(int(profile.durability)),
        _time(profile.deadline),
        _time(profile.lifespan),
        QosLiveliness(int(profile.liveliness)),
        _time(profile.liveliness_lease_duration),
        bool(profile.avoid_ros_namespace_conventions),
    )


def _time(duration: Any) -> QosTime:
    return QosTime(*divmod(int(duration.nanoseconds), NS_PER_S))
