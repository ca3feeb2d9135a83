"""Simulated dashboard viewers, to measure what they cost the robot: each polls like the page; one never reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence

import aiohttp

STATE_S, FRAME_S = 0.15, 0.1  # the page's pause between requests


@contextlib.contextmanager
def viewers(count: int, host: str, port: int, cameras: Sequence[str]) -> Iterator[list[int]]:
    """Run `count` viewers while the context is open, the last one stalled; yield [answers received so far]."""
    answers, over = [0], threading.Event()

    def watch() -> None:
        # Real viewers use their own machines, so these only take idle CPU time.
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        asyncio.run(_all(count, host, port, cameras, answers, over))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


async def _all(
    count: int, host: str, port: int, cameras: Sequence[str], answers: list[int], over: threading.Event
) -> None:
    url = f"http://{host}:{port}"
    paths = [("/state", STATE_S), *((f"/frame/{camera}", FRAME_S) for camera in cameras)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asking = [
            _ask(session, url + path, every_s, answers, over) for _ in range(count - 1) for path, every_s in paths
        ]
        await asyncio.gather(*asking, _stall(host, port, cameras[0], over))


async def _ask(
    session: aiohttp.ClientSession, url: str, every_s: float, answers: list[int], over: threading.Event
) -> None:
    while not over.is_set():
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):  # not up yet, or gone
            async with session.get(url) as answer:
                await answer.read()
                answers[0] += answer.status == 200
        await asyncio.sleep(every_s)


async def _stall(host: str, port: int, camera: str, over: threading.Event) -> None:
    """Request a thousand images, and read none."""
    stalled: socket.socket | None = None
    while not over.is_set():
        if stalled is None:
            with contextlib.suppress(OSError):
                stalled = socket.create_connection((host, port), timeout=1.0)
                stalled.setblocking(False)
                stalled.send(f"GET /frame/{camera} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 1000)
        await asyncio.sleep(0.2)
    if stalled is not None:
        stalled.close()
