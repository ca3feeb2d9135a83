"""The dashboard in a real browser, over simulator, policy and commander as real processes."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest
from dashboard_server import Server, free_port
from live_nodes import edited_robot, patient_robot
from waiting import until

pytestmark = pytest.mark.live


def state_of(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/state", timeout=5) as answer:
        return dict(json.load(answer))


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_a_person_instructs_watches_and_stops_the_robot(world, processes, browser, tiny_model, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from std_msgs.msg import Empty, Float64MultiArray

    commands: list[tuple[float, tuple[float, ...]]] = []  # when they were sent
    world.node.create_subscription(
        Float64MultiArray,
        "/joint_commands",
        lambda m, info: commands.append((info["source_timestamp"] / 1e9, tuple(m.data))),
        50,
    )
    port = free_port()
    processes.start("sim")
    processes.start("policy", model=tiny_model)
    processes.start("commander", robot=patient_robot(tmp_path))
    processes.start("dashboard", port=port)
    heard: list[float] = []
    world.node.create_subscription(Empty, "alive", lambda _: heard.append(time.monotonic()), 10)
    until(lambda: get(f"http://127.0.0.1:{port}/state") == 200, what="the server")
    browser.get(f"http://127.0.0.1:{port}/")
    text = lambda name: browser.find_element(By.ID, name).text  # noqa: E731
    until(lambda: text("mode") == "disarmed" and "waiting for an instruction" in text("nodes"), what="the page")

    frame = until(lambda: browser.find_elements(By.ID, "picture front"), what="a camera")[0]
    first = until(lambda: frame.get_attribute("src"), what="a picture")
    until(lambda: frame.get_attribute("src") != first, what="the next picture")

    box = browser.find_element(By.ID, "sentence")
    box.send_keys("push the red block to the left", Keys.ENTER)
    until(lambda: "planning" in text("nodes"), what="plans")

    def arm() -> bool:
        if text("mode") != "armed":
            browser.find_element(By.ID, "arm").click()
            time.sleep(1.0)
        return bool(text("mode") == "armed")

    until(arm, what="arming")
    start = until(lambda: commands, what="commands")[0][1]
    until(lambda: arm() and abs(commands[-1][1][0] - start[0]) > 0.02, what="the robot to obey")
    browser.save_screenshot(str(tmp_path / "dashboard.png"))

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.SPACE)
    until(lambda: text("mode") == "fault", 10, "the fault")
    stopped = time.time()
    until(lambda: "stop requested" in text("reason"), 10, f"the reason; it is {text('reason')!r}")
    time.sleep(1.0)
    after = [values for at_s, values in commands if at_s > stopped + 0.2]
    assert len(after) > 20, "the held position is not commanded"
    moved = max(abs(values[0] - after[0][0]) for values in after)
    assert moved < 1e-3, f"commands moved {moved:.4f} rad more after the space key"

    browser.save_screenshot(str(tmp_path / "locked out.png"))
    assert text("lock") == "LOCKED OUT" and not browser.find_element(By.ID, "arm").is_enabled()
    until(lambda: "STOP was sent" in text("log") and "commander: fault" in text("log"), 10, "the log of what happened")
    browser.find_element(By.ID, "release").click()
    until(lambda: browser.find_element(By.ID, "arm").is_enabled(), 10, "the release")
    until(arm, what="arming again")
    browser.save_screenshot(str(tmp_path / "armed again.png"))
    box.send_keys("push", Keys.ESCAPE)
    until(lambda: text("lock") == "LOCKED OUT", 10, "a stop by Escape, while typing")

    assert not heard, "alive before anybody said so"
    browser.find_element(By.ID, "watch").click()
    until(lambda: len(heard) > 5, 10, "the heartbeat")
    browser.get("about:blank")
    gone_s = time.monotonic()
    time.sleep(1.5)
    assert heard[-1] - gone_s < 0.8, "alive without a page"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_without_a_word_of_complaint(world, processes, number):
    port = free_port()
    processes.start("sim")
    dashboard = processes.start("dashboard", port=port)
    until(lambda: get(f"http://127.0.0.1:{port}/frame/front") == 200, what="a picture")
    dashboard.send_signal(number)
    assert dashboard.wait(30) == 0
    assert "Traceback" not in processes.output("dashboard")


def test_twenty_clients_and_a_stalled_one_block_nobody(world, processes):
    from concurrent.futures import ThreadPoolExecutor

    port = free_port()
    processes.start("sim")
    dashboard = processes.start("dashboard", port=port)
    url = f"http://127.0.0.1:{port}"
    until(lambda: get(f"{url}/frame/front") == get(f"{url}/frame/wrist") == 200, what="a picture of each camera")
    assert get(f"{url}/frame/nobody") == 404

    def memory_kb() -> int:
        with open(f"/proc/{dashboard.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    with socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /frame/front HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        stalled.sendall(request * 200)  # asks for 200 pictures and reads none
        before, slowest = memory_kb(), 0.0
        with ThreadPoolExecutor(19) as pool:
            for _ in range(20):
                started = time.monotonic()
                assert list(pool.map(get, [f"{url}/frame/wrist", f"{url}/state"] * 10)) == [200] * 20
                slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2.0, f"20 requests took {slowest:.2f} s"
        assert memory_kb() - before < 30_000, f"the server grew by {memory_kb() - before} kB"


def test_no_request_of_a_foreign_page_and_no_open_port_without_a_token(world, processes, monkeypatch):
    from rcl_interfaces.srv import GetParameters, ListParameters

    port = free_port()
    process = processes.start("dashboard", port=port, host="0.0.0.0")
    assert process.wait(60) != 0 and "a token of 8 characters or more is needed" in processes.output("dashboard")
    process = processes.start("dashboard", port=port, token="a-long-secret")
    assert process.wait(60) != 0 and "can be read by anyone on the ROS domain" in processes.output("dashboard")
    monkeypatch.setenv("VLA_ROS_DASHBOARD_TOKEN", "a-long-secret")
    processes.start("dashboard", port=port)
    server, good = Server(port), {"Authorization": "Bearer a-long-secret"}
    until(lambda: get(f"http://127.0.0.1:{port}/") == 200, what="the server")
    assert server.ask("GET", "/state", **good)[0] == 200
    assert server.ask("GET", "/state")[0] == server.ask("GET", "/state?token=a-long-secret")[0] == 401
    assert server.ask("POST", "/stop", **good)[0] == 403, "without the header that a foreign page cannot set"
    assert "a-long-secret" not in processes.output("dashboard"), "a token that a person chose is printed"

    listed = world.call(ListParameters, "dashboard/list_parameters", ListParameters.Request()).result.names
    assert "host" in listed and "token" not in listed
    values = world.call(GetParameters, "dashboard/get_parameters", GetParameters.Request(names=list(listed))).values
    assert "a-long-secret" not in str(values)


def test_a_malformed_plan_is_refused_and_a_good_one_is_drawn_with_its_own_step(world, processes):
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from vla_ros.core.types import ActionChunk
    from vla_ros.ros.convert import chunk_to_trajectory
    from vla_ros.ros.qos import COMMAND

    port = free_port()
    processes.start("dashboard", port=port)
    until(lambda: get(f"http://127.0.0.1:{port}/state") == 200, what="the server")
    plans = world.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    names = ("shoulder_pan_joint", "elbow_joint")
    broken = JointTrajectory(joint_names=names, points=[JointTrajectoryPoint(positions=[0.1])])
    good = chunk_to_trajectory(ActionChunk(10**9, 10**9, 50_000_000, np.array([[0.25, 1], [0.5, np.nan]], "f4"), names))

    def refused() -> bool:
        plans.publish(broken)
        return "action chunk refused: point 0 has 1 positions for 2 joints" in processes.output("dashboard")

    until(refused, what="the refusal")
    assert state_of(f"http://127.0.0.1:{port}")["plan"] == {}

    def drawn() -> dict[str, Any]:
        plans.publish(good)
        return dict(state_of(f"http://127.0.0.1:{port}")["plan"])

    plan = until(drawn, what="the plan")
    assert plan["step_s"] == 0.05 and plan["joints"][:3] == [[0.25, 0.5], None, [1.0, None]]
    assert "Traceback" not in processes.output("dashboard")


def test_a_callback_that_fails_ends_the_process(world, processes, tmp_path):
    """Rather than a page that stays up over a state that stands still, and never hears that the robot was stopped."""
    from std_msgs.msg import String

    from vla_ros.ros.qos import LATCHED

    script = tmp_path / "failing_dashboard.py"
    script.write_text(
        "from vla_ros.nodes import dashboard\n"
        "dashboard.DashboardNode._on_instruction = lambda self, message: 1 / 0\n"
        "dashboard.main()\n"
    )
    port = free_port()
    dashboard = processes.start("dashboard", script, port=port)
    until(lambda: get(f"http://127.0.0.1:{port}/state") == 200, what="the server")
    world.node.create_publisher(String, "/instruction", LATCHED).publish(String(data="push"))
    assert dashboard.wait(30) == 1
    said = processes.output("dashboard")
    assert "Traceback" in said and "dashboard: error: a callback failed: ZeroDivisionError" in said


def test_velocities_are_not_drawn_as_positions(ros_domain, tmp_path):
    import rclpy

    from vla_ros.nodes.dashboard import DashboardNode

    robot = edited_robot(tmp_path, "rate_hz: 100}", "rate_hz: 100, interface: velocity}")
    rclpy.init(args=["--ros-args", "-p", f"robot:={robot}"], domain_id=ros_domain)
    try:
        node = DashboardNode()
        heard = {subscription.topic_name for subscription in node.subscriptions}
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    assert "/joint_states" in heard and "/joint_commands" not in heard
