"""The page in a real browser, over the real server and a robot that the test plays."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from dashboard_server import PlayedRobot, running
from waiting import until

TOKEN = "a-long-secret"


class ShownRobot(PlayedRobot):
    """A robot with everything that the page shows."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, Any] = {
            "robot": "played",
            "joints": ["a_joint"],
            "instruction": "",
            "pictures": ["front"],
            "up_s": 100.0,
            "episode": {"running_s": None, "ended": 0, "last": None, "succeeded": 0, "failed": 0},
            "measured": [0.5],
            "sent": None,
            "dead_man_s": 0.0,
        }
        self.shown |= {"expected": [], "present": [], "events": [], "nodes": {}, "plan": {}, "stages": {}}
        self.stalled = threading.Event()

    def state(self) -> dict[str, Any]:
        return self.shown

    def frame(self, name: str) -> Any:
        if self.stalled.is_set():
            time.sleep(3)
        height = 52 if name == "overview" else 18 if "expected" in name else 64
        return np.zeros((height, 64, 3), np.uint8)

    def says(self, name: str, message: str, level: str = "ok", **values: str) -> None:
        word = {"level": level, "message": message, "values": values, "age_s": 0.1}
        self.shown = {**self.shown, "nodes": {**self.shown["nodes"], name: word}}


def element(browser, name):
    return browser.find_element("id", name)


def text(browser, name) -> str:
    return str(element(browser, name).text)


def test_a_token_in_the_fragment_logs_in_and_leaves_the_address(browser):
    with running(ShownRobot(), token=TOKEN) as server:
        url = f"http://127.0.0.1:{server.port}/"
        browser.get(f"{url}#token={TOKEN}")
        until(lambda: text(browser, "robot") == "played", 10, "the page")
        assert browser.current_url == url and not element(browser, "login").is_displayed()
        picture = until(lambda: browser.find_elements("id", "picture front"), 10, "a picture")[0]
        until(lambda: browser.execute_script("return arguments[0].naturalWidth", picture) == 64, 10, "its pixels")
        browser.refresh()
        until(lambda: text(browser, "robot") == "played", 10, "the page again")
    severe = [line["message"] for line in browser.get_log("browser") if "Content Security" in line["message"]]
    assert not severe


def test_without_a_token_a_person_is_asked_for_it(browser):
    with running(ShownRobot(), token=TOKEN) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: element(browser, "login").is_displayed(), 10, "the question")
        element(browser, "token").send_keys("wrong\n")
        until(lambda: "the token is wrong" in text(browser, "note"), 10, "the refusal")
        time.sleep(2.0)  # a page that tries it again and again would be slowed down as one who guesses
        element(browser, "token").clear()
        element(browser, "token").send_keys(TOKEN + "\n")
        until(lambda: text(browser, "robot") == "played", 10, "the page")


def test_what_is_on_its_way_is_starting_and_not_to_be_started(browser):
    robot = ShownRobot()
    robot.shown["up_s"] = 3.0
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: text(browser, "mode") == "starting", 10, "the commander's state")
        assert text(browser, "imagining") == "world model: starting"
        robot.shown = {**robot.shown, "up_s": 100.0, "present": ["world_model"]}
        until(lambda: text(browser, "mode") == "no commander", 10, "the commander's absence")
        assert text(browser, "imagining") == "world model: starting"
        robot.says("world_model", "loading the model")
        until(lambda: "loading the model" in text(browser, "imagining"), 10, "its own word")
        robot.shown = {**robot.shown, "present": [], "nodes": {}}
        until(lambda: not element(browser, "expect").is_displayed(), 10, "its absence")


def test_reasons_are_whole_and_are_text(browser):
    robot = ShownRobot()
    reason = "the plan leaves the limits of " + "shoulder_pan_joint, " * 30 + "<img src=x onerror=alert(1)>"
    robot.says("commander", f"fault: {reason}", "error", mode="fault", reason=reason)
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: text(browser, "mode") == "fault", 10, "the fault")
        assert text(browser, "reason") == reason and reason in text(browser, "nodes")
        assert not browser.find_elements("css selector", "img[src=x]")


def test_space_stops_whatever_has_the_focus_and_whatever_stalls(browser):
    robot = ShownRobot()
    robot.shown["pictures"] = [f"camera {n}" for n in range(12)]
    robot.says("commander", "armed", mode="armed", reason="")
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: text(browser, "mode") == "armed", 10, "the page")
        robot.stalled.set()
        time.sleep(0.5)
        began_s = time.monotonic()
        element(browser, "arm").send_keys(" ")  # the focus is on the button
        until(lambda: "halt" in robot.calls, 3, "the stop")
        assert time.monotonic() - began_s < 1.0, "STOP queued behind pictures"
        robot.stalled.clear()
        until(lambda: text(browser, "lock") == "LOCKED OUT", 10, "the lock-out")
        assert "arm" not in robot.calls, "space pressed the button, too"
        assert not element(browser, "arm").is_enabled()
        element(browser, "release").click()
        until(lambda: not element(browser, "lock").is_displayed(), 10, "the release")
        element(browser, "sentence").send_keys("push the block\ue00c")  # a sentence has blanks; Escape stops
        until(lambda: robot.calls.count("halt") == 2, 3, "the stop by Escape")


def test_a_commander_that_is_locked_out_by_another_dashboard_can_be_released_here(browser):
    robot = ShownRobot()
    robot.says("commander", "disarmed", "warn", mode="disarmed", reason="locked out", locked_out="True")
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: element(browser, "release").is_displayed(), 10, "the button")
        element(browser, "release").click()
        until(lambda: "release" in robot.calls, 5, "the release")


def test_a_stop_that_does_not_get_through_is_shouted(browser):
    with running(ShownRobot()) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: text(browser, "robot") == "played", 10, "the page")
    element(browser, "stop").click()
    until(lambda: "Press the emergency stop of the robot" in text(browser, "alarm"), 10, "the alarm")
    until(lambda: text(browser, "mode") == "no connection", 10, "that nothing is known")


def test_the_heartbeat_ends_with_the_switch_and_needs_an_answering_server(browser):
    robot = ShownRobot()
    robot.shown["dead_man_s"] = 0.5
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        until(lambda: "stops 0.5 s after" in text(browser, "deadman"), 10, "what the option does")
        time.sleep(0.6)
        assert not robot.beats
        element(browser, "watch").click()
        until(lambda: len(robot.beats) > 5, 10, "heartbeats")
        assert np.diff(robot.beats).max() < 0.45
        element(browser, "watch").click()
        time.sleep(0.8)
        count = len(robot.beats)
        time.sleep(0.6)
        assert len(robot.beats) == count


@pytest.mark.parametrize("world_model", [False, True])
def test_at_a_glance_nothing_is_cut_off_or_empty(browser, world_model, tmp_path):
    """All of it on 1400x1000, without scrolling."""
    robot = ShownRobot()
    robot.shown["joints"], robot.shown["measured"] = [f"joint_{n}" for n in range(7)], [0.1 * n for n in range(7)]
    robot.shown["expected"] = ["front expected", "wrist expected"] * world_model
    robot.shown["pictures"] = ["overview", "front", "wrist", *robot.shown["expected"]]
    robot.shown["stages"] = {f"stage {n}": [1.0, 2.0] for n in range(9)}
    robot.shown["events"] = [
        {"at_s": 1e9 + n, "level": "error", "text": "commander: fault: a reason"} for n in range(40)
    ]
    for name in ("commander", "policy", "sim", *["world_model"] * world_model):
        robot.says(name, "armed: waiting for a fresh plan: " + "the plan is stale, " * 5, mode="armed", reason="")
    with running(robot) as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        bars = browser.execute_script("return [outerWidth - innerWidth, outerHeight - innerHeight]")
        browser.set_window_size(1400 + bars[0], 1000 + bars[1])
        until(lambda: len(browser.find_elements("css selector", "#live img")) == 3, 10, "the pictures")
        time.sleep(1.0)
        assert browser.execute_script("return [innerHeight, document.documentElement.scrollHeight]") == [1000, 1000]
        browser.save_screenshot(str(tmp_path / "glance.png"))
        boxes = browser.execute_script(
            "return [...document.querySelectorAll('section')].filter(s => s.offsetHeight).map(s => s.clientHeight)"
        )
        assert len(boxes) >= 6 and min(boxes) > 50
        sizes = [image.size for image in browser.find_elements("css selector", "#live img")]
        assert sum(size["width"] * size["height"] for size in sizes) > 280_000, "a row of three would cover 260 000"
        assert min(size["width"] for size in sizes) > 150
