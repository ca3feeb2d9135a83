"""STOP from the dashboard, over a real commander, in everything that could be before it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from dashboard_server import Server, free_port
from live_nodes import patient_robot
from waiting import until

from vla_ros.core.robot import load_robot

pytestmark = pytest.mark.live
WITHIN_S = 0.3


@contextlib.contextmanager
def standing_robot(world) -> Iterator[None]:
    """A robot that stands still, and plans that ask it to."""
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.core.types import ActionChunk
    from vla_ros.ros.convert import array_to_joint_state, chunk_to_trajectory
    from vla_ros.ros.qos import COMMAND, SENSOR

    robot = load_robot("ur5e_tabletop")
    at = np.array([(joint.lower + joint.upper) / 2 for joint in robot.joints], np.float32)
    states = world.node.create_publisher(JointState, robot.joint_states_topic, SENSOR)
    plans = world.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    over = threading.Event()

    def play() -> None:
        for tick in count():
            if over.wait(0.01):
                return
            now_ns = int(world.node.get_clock().now().nanoseconds)
            states.publish(array_to_joint_state(robot.joint_names, at, now_ns, 0 * at))
            if tick % 10 == 0:
                chunk = ActionChunk(now_ns, now_ns + 10**8, 10**8, np.tile(at, (12, 1)), robot.joint_names)
                plans.publish(chunk_to_trajectory(chunk))

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def half_requests(port: int, most: int) -> Iterator[None]:
    """So many connections that have begun a request, whoever ends one of them."""
    over = threading.Event()
    links: list[socket.socket] = []

    def knock() -> None:
        while not over.is_set():
            for link in [link for link in links if _closed(link)]:
                links.remove(link)
                link.close()
            while len(links) < most and not over.is_set():
                with contextlib.suppress(OSError):
                    link = socket.create_connection(("127.0.0.1", port), timeout=2)
                    links.append(link)
                    link.sendall(b"GET / HTTP/1.1\r\n")
            time.sleep(0.05)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for link in links:
            link.close()


def _closed(link: socket.socket) -> bool:
    try:
        return link.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.faults)])
def test_stop_is_served_beside_half_requests_pending_arms_and_a_commander_that_just_woke(
    world, processes, tmp_path, rounds
):
    from std_msgs.msg import Empty

    port, stops = free_port(), list[float]()
    world.node.create_subscription(Empty, "stop", lambda _: stops.append(time.monotonic()), 10)
    commander = processes.start("commander", robot=patient_robot(tmp_path))
    processes.start("dashboard", port=port)
    server, served, out = Server(port), list[float](), list[float]()

    def mode() -> str:
        words = [status for name, status in world.diagnostics.items() if name.endswith("commander")]
        return next((pair.value for status in words for pair in status.values if pair.key == "mode"), "")

    def ready() -> bool:
        with contextlib.suppress(OSError):
            server.post("/release")
            if server.post("/arm")[1]["done"]:
                time.sleep(0.3)  # on a busy machine a plan may come too late, which is latched
        return mode() == "armed"

    with standing_robot(world), half_requests(port, 300), ThreadPoolExecutor(60) as clicks:
        for _ in range(rounds):
            until(ready, what="arming")
            commander.send_signal(signal.SIGSTOP)
            arms = [clicks.submit(server.post, "/arm") for _ in range(60)]
            time.sleep(3.0)
            arms += [clicks.submit(server.post, "/arm") for _ in range(60)]
            commander.send_signal(signal.SIGCONT)
            stops.clear()
            began_s = time.monotonic()
            status, _ = server.post("/stop")
            served.append(time.monotonic() - began_s)
            assert status == 200
            until(lambda: stops, 5, "the stop on its topic")
            out.append(stops[0] - began_s)
            until(lambda: mode() != "armed", 5, "the commander's stop")
            assert not any(arm.result()[1].get("done") for arm in arms), "one was told that the robot is armed"
            armed = 0  # an arm request that comes late is not carried out, or undone at once
            for _ in range(35):
                armed += mode() == "armed"
                time.sleep(0.02)
            assert armed < 15 and mode() != "armed"
            assert server.post("/arm")[0] == 409, "armed without a release"
    print(f"served in {max(served):.3f} s, on the topic after {max(out):.3f} s, {rounds} rounds")
    assert max(served) < WITHIN_S and max(out) < WITHIN_S, (served, out)


def test_stop_works_in_a_namespace_and_without_a_lock_out_service(world, processes, tmp_path):
    """And the page of one robot shows nothing of another's."""
    import rclpy
    from std_msgs.msg import Empty
    from std_srvs.srv import SetBool, Trigger

    port, heard = free_port(), list[str]()
    node = rclpy.create_node("played", namespace="robot1")
    node.create_subscription(Empty, "stop", lambda _: heard.append("topic"), 10)
    for name, done in (("arm", True), ("stop", True)):
        node.create_service(Trigger, f"commander/{name}", _answering(heard, name, done))
    script = tmp_path / "dashboard.py"
    script.write_text(
        "import sys\nfrom vla_ros.nodes import dashboard\n"
        "sys.argv += ['-r', '__ns:=/robot1', '-r', '__node:=page']\ndashboard.main()\n"
    )
    processes.start("dashboard", script, port=port)
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    server = Server(port)

    def asks(path: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(server.post(path)[1]["done"])
        return False

    until(lambda: asks("/arm"), what="arming")
    assert server.post("/stop") == (200, {"done": True, "message": ""})
    until(lambda: "topic" in heard and "stop" in heard, 5, "the stop on both ways")
    assert asks("/release") and asks("/arm")
    locks: list[bool] = []

    def lock(request, response):
        locks.append(request.data)
        response.success = True
        return response

    node.create_service(SetBool, "commander/lock_out", lock)
    until(lambda: asks("/stop") and locks, 10, "the lock-out service")
    assert asks("/release")
    assert locks[0] is True and locks[-1] is False
    executor.shutdown()
    node.destroy_node()


def test_stop_keeps_its_priority_and_pictures_stand_back(world, processes, tmp_path):
    """On a loaded machine the whole process stood back, and STOP with it."""
    script, found = tmp_path / "dashboard.py", tmp_path / "found.json"
    script.write_text(
        "import json, os, threading\nfrom vla_ros.nodes import dashboard\nhalt = dashboard.DashboardNode.halt\n"
        "def look(self):\n    halt(self)\n"
        "    nice = {t.name: os.getpriority(os.PRIO_PROCESS, t.native_id) for t in threading.enumerate()}\n"
        f"    open({str(found)!r}, 'w').write(json.dumps([nice, threading.current_thread().name]))\n"
        "dashboard.DashboardNode.halt = look\ndashboard.main()\n"
    )
    port = free_port()
    processes.start("dashboard", script, port=port)
    url = f"http://127.0.0.1:{port}/state"

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        return False

    until(answers, what="the server")
    Server(port).post("/stop")
    nice, stopped_in = json.loads(until(lambda: found.exists() and found.read_text(), what="the stop"))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert nice[stopped_in] == nice["MainThread"] == nice["spin dashboard_stop"] == usual
    assert nice["spin dashboard"] == nice["pictures_0"] == max(10, usual)


def _answering(heard: list[str], name: str, done: bool):
    def answer(_, response):
        heard.append(name)
        response.success = done
        return response

    return answer
