"""Who may arm, and when: stale requests, floods, a lock-out; and every way to say stop."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest
from harness import Graph, hold_under, moves_under, stands_still
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, Empty
from std_srvs.srv import SetBool, Trigger
from waiting import until

pytestmark = pytest.mark.faults

RELIABLE = QoSProfile(depth=1)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize("quality", ["reliable", "best-effort"])
@pytest.mark.parametrize("kind", [Empty, Bool])
def test_anybody_may_say_stop(graph: Graph, row: Any, kind: Any, quality: str) -> None:
    line = row(f"{kind.__name__} on /stop, {quality}", "hold, latched")
    qos = RELIABLE if quality == "reliable" else BEST_EFFORT
    publisher = graph.world.node.create_publisher(kind, "stop", qos)
    until(lambda: publisher.get_subscription_count() >= 1, 5, "a listener")
    message = Bool(data=True) if kind is Bool else Empty()
    hold_under(graph, line, lambda: publisher.publish(message), ("commander", "stop requested on the stop topic"))
    graph.world.node.destroy_publisher(publisher)


def test_false_is_no_stop(graph: Graph, row: Any) -> None:
    line = row("Bool false on /stop", "goes on")
    publisher = graph.world.node.create_publisher(Bool, "stop", RELIABLE)
    until(lambda: publisher.get_subscription_count() >= 1, 5, "a listener")
    moves_under(graph, line, lambda: publisher.publish(Bool(data=False)))
    graph.world.node.destroy_publisher(publisher)


def test_requests_from_before_a_pause(graph: Graph, row: Any) -> None:
    line = row("arm requested in a 3 s pause", "refused when it wakes; nothing moves")
    graph.move()
    graph.rest()
    time.sleep(1.0)  # the stop has come to its end
    graph.robot.swing()  # there are plans; nobody has armed
    client = graph.world.node.create_client(Trigger, "commander/arm")
    until(client.service_is_ready, 5, "the service")
    process = graph.running["commander"]
    process.send_signal(signal.SIGSTOP)
    answers = [client.call_async(Trigger.Request()) for _ in range(3)]
    time.sleep(3.0)
    process.send_signal(signal.SIGCONT)
    until(lambda: all(answer.done() for answer in answers), 5, "answers")
    line.observed = answers[0].result().message
    assert not any(answer.result().success for answer in answers)
    assert "paused for 3." in line.observed
    assert stands_still(graph, 0.6)
    graph.move()
    graph.world.node.destroy_client(client)


def test_a_pause_in_motion(graph: Graph, row: Any) -> None:
    line = row("commander paused for 0.6 s", "a fault by name; hold")

    def pause() -> None:
        graph.running["commander"].send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        graph.running["commander"].send_signal(signal.SIGCONT)

    hold_under(graph, line, pause, ("commander", "paused for 0."), limit_s=1.2)


def test_a_flood_of_arm_through_a_stop(graph: Graph, row: Any) -> None:
    line = row("arm requested at 200 Hz through a stop", "the stop stays")
    graph.move()
    client = graph.world.node.create_client(Trigger, "commander/arm")
    until(client.service_is_ready, 5, "the service")
    ended, answers = threading.Event(), []

    def flood() -> None:
        while not ended.wait(0.005):
            answers.append(client.call_async(Trigger.Request()))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        time.sleep(0.3)
        assert graph.world.trigger("commander/stop")[0]
        stopped_s = time.time()
        time.sleep(0.6)
        held_s = time.time()
        time.sleep(1.0)
        assert graph.robot.recording.travel(held_s) < 1e-6, "the flood took the stop back"
    finally:
        ended.set()
        thread.join()
    line.hold_s = graph.robot.recording.time_to_hold_s(stopped_s)
    refused = [answer.result().message for answer in answers if answer.done() and not answer.result().success]
    line.observed = f"{len(refused)} refused: {refused[-1]}"
    assert "through a stop" in refused[-1]
    graph.world.node.destroy_client(client)
    time.sleep(0.5)
    graph.move()  # and a person may arm again


def test_a_flood_of_stops_is_no_flood_of_commands(graph: Graph, row: Any) -> None:
    line = row("stop at 500 Hz", "commands stay near 100 Hz")
    graph.move()
    publisher = graph.world.node.create_publisher(Empty, "stop", RELIABLE)
    until(lambda: publisher.get_subscription_count() >= 1, 5, "a listener")
    start_s = time.time()
    while time.time() < start_s + 1.0:
        publisher.publish(Empty())
        time.sleep(0.002)
    count = len(graph.robot.recording.since(start_s))
    line.observed = f"{count} commands in 1 s"
    assert 50 < count < 130
    graph.world.node.destroy_publisher(publisher)


def test_a_lock_out(graph: Graph, row: Any) -> None:
    line = row("lock-out in motion", "hold; arming refused until released")
    client = graph.world.node.create_client(SetBool, "commander/lock_out")
    until(client.service_is_ready, 5, "the service")

    def lock(out: bool) -> None:
        answer = client.call_async(SetBool.Request(data=out))
        until(answer.done, 5, "the answer")
        assert answer.result().success

    hold_under(graph, line, lambda: lock(True), ("commander", "locked out"))
    assert graph.arming() == (False, "not armed: locked out; release it first with /commander/lock_out false")
    assert graph.value("commander", "locked_out") == "True"
    lock(False)
    graph.move()
    graph.world.node.destroy_client(client)
