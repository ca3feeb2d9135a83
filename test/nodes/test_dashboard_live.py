"""The dashboard in a real browser, over simulator, policy and commander as real processes."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from live_nodes import patient_robot
from waiting import until

pytestmark = pytest.mark.live
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def browser(tmp_path) -> Iterator[object]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromium-driver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update", "window-size=1280,1000",
                 f"user-data-dir={tmp_path / 'browser'}"):  # fmt: skip
        options.add_argument(f"--{word}")
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield found
    finally:
        found.quit()


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
    from std_msgs.msg import Float64MultiArray

    commands: list[tuple[float, tuple[float, ...]]] = []  # when they were sent
    world.node.create_subscription(
        Float64MultiArray, "/joint_commands",
        lambda m, info: commands.append((info["source_timestamp"] / 1e9, tuple(m.data))), 50,
    )  # fmt: skip
    port = free_port()
    processes.start("sim")
    processes.start("policy", model=tiny_model)
    processes.start("commander", robot=patient_robot(tmp_path))
    processes.start("dashboard", port=port)
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
    until(lambda: "stop requested" in text("reason"), 10, "the reason")
    time.sleep(1.0)
    after = [values for at_s, values in commands if at_s > stopped + 0.2]
    assert len(after) > 20, "the held position is not commanded"
    moved = max(abs(values[0] - after[0][0]) for values in after)
    assert moved < 1e-3, f"commands moved {moved:.4f} rad more after the space key"


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


def test_no_request_of_a_foreign_page_and_no_open_port_without_a_token(world, processes):
    port = free_port()
    process = processes.start("dashboard", port=port, host="0.0.0.0")
    assert process.wait(60) != 0 and "right would be a token" in processes.output("dashboard")
    processes.start("dashboard", port=port, token="a-long-secret")
    url = f"http://127.0.0.1:{port}"
    until(lambda: get(f"{url}/state?token=a-long-secret") == 200, what="the server")
    assert get(f"{url}/state") == get(f"{url}/?token=wrong") == 401
    post = urllib.request.Request(f"{url}/stop?token=a-long-secret", data=json.dumps({}).encode(), method="POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(post, timeout=5)
