"""The dashboard's real server over a robot that a test plays, in a thread, and a client that says what it likes."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from vla_ros.monitor.dashboard.server import serve

MARK = {"X-Vla-Ros": "1"}


class PlayedRobot:
    """Takes `arm_s` to arm, and keeps a record of everything."""

    def __init__(self, arm_s: float = 0.0) -> None:
        self.arm_s, self.calls, self.said = arm_s, list[str](), list[str]()
        self.confirm_s, self.armed_s, self.beats = 0.0, None, list[float]()
        self.broken: Exception | None = None

    def state(self) -> dict[str, Any]:
        if self.broken:
            raise self.broken
        return {"robot": "played"}

    def frame(self, name: str) -> Any:
        return np.zeros((64, 64, 3), np.uint8) if name == "front" else None

    def instruct(self, sentence: str) -> str:
        self.said.append(sentence)
        return ""

    def halt(self) -> None:
        self.calls.append("halt")

    def confirm(self, timeout_s: float) -> tuple[bool, str]:
        time.sleep(min(timeout_s, self.confirm_s))
        return (True, "") if self.confirm_s <= timeout_s else (False, "not confirmed")

    def arm(self, cancelled: threading.Event) -> tuple[bool, str]:
        self.calls.append("arm")
        time.sleep(self.arm_s)
        self.calls.append("armed")
        return True, "armed"

    def release(self, cancelled: threading.Event) -> tuple[bool, str]:
        self.calls.append("release")
        return True, ""

    def alive(self) -> None:
        self.beats.append(time.monotonic())

    def armed_at_s(self) -> float | None:
        return self.armed_s


class Server:
    """Where a running server is, and what to say to it. ended_in_s: how long the last one took to end."""

    ended_in_s = 0.0

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        """(status, text); header names with _ for -."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = link.getresponse()
            self.headers = dict(answer.getheaders())
            return answer.status, answer.read().decode()
        finally:
            link.close()

    def post(self, path: str, words: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """As the page does."""
        status, text = self.ask("POST", path, json.dumps(words or {}).encode(), X_Vla_Ros="1", **headers)
        return status, json.loads(text) if text.startswith("{") else {"message": text}

    def raw(self, data: bytes, wait_s: float = 5.0) -> bytes:
        """The first bytes that come back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait_s) as link:
            link.sendall(data)
            return link.recv(65536)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(robot: Any, host: str = "127.0.0.1", token: str = "") -> Iterator[Server]:
    """A server that has begun to listen, and has ended afterwards."""
    port, over = free_port(), threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(serve(robot, host, port, token, lambda: not over.is_set()))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not failures:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.01)
        yield Server(port)
    finally:
        over.set()
        began_s = time.monotonic()
        thread.join(20)
        Server.ended_in_s = time.monotonic() - began_s
    if failures:
        raise failures[0]
