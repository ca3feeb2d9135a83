"""A topic is heard whatever quality its publishers offer, and each message once, in its publisher's order."""

from __future__ import annotations

from typing import Any

import pytest
from waiting import until


def info(who: bytes, number: int | None, stamp: int = 5) -> dict[str, Any]:
    return {"publisher_gid": {"data": who}, "publication_sequence_number": number, "source_timestamp": stamp}


def test_a_message_that_comes_twice_or_too_late_is_not_new() -> None:
    """As measured: the latched queue gave the second message before the volatile one gave the first."""
    from vla_ros.ros.listening.everyone import Heard

    heard = Heard()
    order = [(b"a", 2), (b"a", 1), (b"b", 1), (b"a", 2), (b"b", 1), (b"a", 3)]
    assert [heard.is_new(info(*item)) for item in order] == [True, False, True, False, False, True]


def test_without_a_number_the_stamp_decides_and_without_both_all_is_new() -> None:
    from vla_ros.ros.listening.everyone import Heard

    heard = Heard()
    assert [heard.is_new(info(b"a", None, stamp)) for stamp in (7, 7, 6, 8)] == [True, False, False, True]
    assert [heard.is_new({"source_timestamp": stamp}) for stamp in (7, 7, 8)] == [True, False, True]
    assert [heard.is_new(info(b"a", None, 0)) for _ in range(2)] == [True, True]


def test_what_is_remembered_is_bounded() -> None:
    from vla_ros.ros.listening.everyone import PUBLISHERS, Heard

    heard = Heard()
    assert all(heard.is_new(info(number.to_bytes(4, "big"), 1)) for number in range(1000))
    assert len(heard._last) == PUBLISHERS


@pytest.mark.live
@pytest.mark.parametrize("executor", ["EventsExecutor", "SingleThreadedExecutor"])
def test_latched_volatile_and_best_effort_publishers_are_heard_once(rclpy_context: object, executor: str) -> None:
    """`ros2 topic pub`, rosbridge and speech nodes publish volatile; a replay, as its bag says; some best effort."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.experimental import EventsExecutor
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import String

    from vla_ros.ros.listening.everyone import Heard, hear_everyone

    node, sentences, known = rclpy.create_node("listener"), list[str](), Heard()
    runs = {"EventsExecutor": EventsExecutor, "SingleThreadedExecutor": SingleThreadedExecutor}[executor]()
    runs.add_node(node)

    def come(expected: list[str]) -> None:
        def heard() -> bool:
            runs.spin_once(timeout_sec=0.02)
            return sentences == expected

        until(heard, 10, f"{expected}, heard {sentences}")

    def publisher(qos: QoSProfile) -> Any:
        found = node.create_publisher(String, "words", qos)
        until(lambda: found.get_subscription_count(), 10, "a match")
        return found

    early = node.create_publisher(String, "words", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    early.publish(String(data="said before"))

    def listen() -> list[Any]:
        return hear_everyone(node, String, "words", lambda m: sentences.append(m.data), heard=known)

    subscriptions = listen()
    come(["said before"])
    expected = ["said before"]
    for name, qos in (
        ("volatile", QoSProfile(depth=1)),
        ("best effort", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)),
    ):
        publisher(qos).publish(String(data=name))
        expected.append(name)
        come(expected)
    early.publish(String(data="said now"))
    expected.append("said now")
    come(expected)
    publisher(QoSProfile(depth=1)).publish(String(data="last"))
    come([*expected, "last"])
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
    listen()  # as a node that is deactivated and activated again: what is kept for latecomers is old for it
    for _ in range(20):
        runs.spin_once(timeout_sec=0.02)
    come([*expected, "last"])
    runs.shutdown()
    node.destroy_node()


@pytest.mark.live
def test_a_reset_and_an_episode_mark_tell_of_a_new_scene(rclpy_context: object) -> None:
    import rclpy
    from std_msgs.msg import Empty, String

    from vla_ros.ros.listening.scenes import hear_new_scenes
    from vla_ros.ros.qos import LATCHED

    node, told = rclpy.create_node("watcher", namespace="left"), list[bool]()
    hear_new_scenes(node, "/episode", lambda: told.append(True))
    reset = node.create_publisher(Empty, "/left/new_scene", 10)
    marks = node.create_publisher(String, "/episode", LATCHED)

    def come(count: int) -> None:
        def heard() -> bool:
            rclpy.spin_once(node, timeout_sec=0.02)
            return len(told) >= count

        until(heard, 10, f"word {count}")

    until(lambda: reset.get_subscription_count() and marks.get_subscription_count(), 10, "a match")
    reset.publish(Empty())
    come(1)
    marks.publish(String(data='{"event": "start"}'))
    come(2)
    for _ in range(10):
        rclpy.spin_once(node, timeout_sec=0.02)
    assert len(told) == 2
    node.destroy_node()
