"""STOP before everything, one arm request at a time, none after STOP, and a heartbeat only while a person watches."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from dashboard_server import PlayedRobot, running

from vla_ros.monitor.dashboard import safety as dashboard_safety

SOON_S = 0.8  # on a busy machine; whatever STOP waited for here takes a second


def test_stop_waits_for_no_arm_and_cancels_the_one_that_is_asked_for():
    robot = PlayedRobot(arm_s=1.5)
    with running(robot) as server, ThreadPoolExecutor(64) as pool:
        arms = [pool.submit(server.post, "/arm") for _ in range(60)]
        time.sleep(0.4)
        began_s = time.monotonic()
        assert server.post("/stop") == (200, {"done": True, "message": ""})
        assert time.monotonic() - began_s < SOON_S
        answers = [arm.result() for arm in arms]
        assert {status for status, _ in answers} == {409}, "one was told that the robot is armed, or that none is asked"
        assert sum("cancelled by STOP" in words["message"] for _, words in answers) == 1
        time.sleep(1.3)
    assert robot.calls == ["arm", "halt", "armed", "halt"], "it was armed after STOP and not stopped again"


def test_after_stop_a_person_releases_before_the_robot_is_armed():
    robot = PlayedRobot()
    with running(robot) as server:
        assert server.post("/arm")[0] == 200
        server.post("/stop")
        status, words = server.post("/arm")
        assert status == 409 and "press Release" in words["message"]
        assert '"locked_out": true' in server.ask("GET", "/state")[1]
        assert server.post("/release")[0] == 200
        assert server.post("/arm") == (200, {"done": True, "message": "armed"})
    assert robot.calls == ["arm", "armed", "halt", "release", "arm", "armed"]


def test_stop_beats_a_release_that_is_under_way():
    robot = PlayedRobot()

    def slow(cancelled):
        time.sleep(0.5)
        return True, ""

    robot.release = slow
    with running(robot) as server, ThreadPoolExecutor(2) as pool:
        server.post("/stop")
        release = pool.submit(server.post, "/release")
        time.sleep(0.2)
        server.post("/stop")
        assert release.result()[0] == 409
        time.sleep(0.6)
        assert server.post("/arm")[0] == 409


def test_stop_is_answered_though_the_question_to_the_commander_hangs():
    robot = PlayedRobot()

    def slow(timeout_s):
        time.sleep(1.5)
        return True, ""

    robot.confirm = slow
    with running(robot) as server:
        began_s = time.monotonic()
        status, words = server.post("/stop")
        assert time.monotonic() - began_s < SOON_S and status == 200
        assert words == {"done": False, "message": "STOP was sent; nobody has confirmed it yet"}


def test_stop_is_answered_though_the_commander_is_silent():
    robot = PlayedRobot()
    robot.confirm_s = 9.0
    with running(robot) as server, ThreadPoolExecutor(30) as pool:
        began_s = time.monotonic()
        stops = list(pool.map(lambda _: server.post("/stop")[0], range(30)))
        assert time.monotonic() - began_s < 1.0 and set(stops) == {200}
    assert robot.calls == ["halt"] * 30


def test_whoever_arms_around_the_lock_out_is_stopped_again(monkeypatch):
    robot = PlayedRobot()
    with running(robot) as server:
        robot.armed_s = time.monotonic()
        server.post("/stop")
        time.sleep(0.5)
        assert robot.calls == ["halt"], "what was said before STOP is no answer to it"
        robot.armed_s = time.monotonic() + 1.0
        time.sleep(0.5)
        assert robot.calls.count("halt") >= 2
        server.post("/release")
        count = len(robot.calls)
        time.sleep(0.5)
        assert len(robot.calls) == count


def test_the_heartbeat_goes_on_while_a_page_beats_and_ends_soon_after():
    robot = PlayedRobot()
    with running(robot) as server:
        time.sleep(0.5)
        assert not robot.beats, "alive without a page"
        for _ in range(10):
            assert server.post("/alive")[0] == 200
            time.sleep(0.1)
        last_s = time.monotonic()
        assert 4 <= len(robot.beats) <= 8
        time.sleep(1.2)
        assert robot.beats[-1] - last_s < dashboard_safety.WATCHED_S
