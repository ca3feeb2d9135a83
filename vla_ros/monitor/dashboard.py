"""The dashboard's server: one page, the robot's state as JSON, pictures as JPEG. Neither ROS nor the robot in here.

A browser asks for each picture when it has drawn the last, so that a slow or stalled one costs nobody anything: no
queue grows for it. A picture is encoded once for all who ask, at most `FRAMES_HZ` times a second.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from PIL import Image

from vla_ros.core.errors import ConfigError

PAGE = Path(__file__).parent / "page" / "index.html"
FRAMES_HZ, QUALITY = 10.0, 80
MAX_REQUEST_BYTES = 4096
MARK = "X-Vla-Ros"  # a foreign page in the same browser cannot set it: no cross-site request moves the robot
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Robot(Protocol):
    """What the dashboard needs of a robot. Calls may block; they are made outside the server's loop."""

    def state(self) -> Mapping[str, Any]:
        """What the page shows, as plain data without NaN."""

    def frame(self, name: str) -> NDArray[np.uint8] | None:
        """(H, W, 3) RGB: the newest picture of that name."""

    def instruct(self, sentence: str) -> str:
        """Give an instruction; a complaint, or nothing."""

    def arm(self) -> tuple[bool, str]:
        """Whether the robot is armed now, and why not."""

    def stop(self) -> tuple[bool, str]:
        """Whether the robot was stopped."""


class Pictures:
    """The newest JPEG of each picture."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._known: dict[str, tuple[float, bytes | None]] = {}

    async def get(self, name: str) -> bytes | None:
        """One that is at most 1 / FRAMES_HZ old."""
        made_s, data = self._known.get(name, (-1e9, None))
        if time.monotonic() - made_s < 1 / FRAMES_HZ:
            return data
        self._known[name] = time.monotonic(), data  # whoever asks meanwhile gets the last one
        data = await asyncio.to_thread(self._encode, name)
        if data is None:
            del self._known[name]  # names that nobody knows must not pile up
        else:
            self._known[name] = time.monotonic(), data
        return data

    def _encode(self, name: str) -> bytes | None:
        frame = self._robot.frame(name)
        if frame is None:
            return None
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()


def is_local(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def application(robot: Robot, host: str = "127.0.0.1", token: str = "") -> web.Application:
    """The server; ConfigError where it would be open to the network without a token."""
    if not is_local(host) and len(token) < 8:
        raise ConfigError(f"host {host} can be reached from elsewhere; right would be a token of 8 characters or more")
    pictures = Pictures(robot)

    async def page(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE, headers={"Cache-Control": "no-store"})

    async def state(_: web.Request) -> web.StreamResponse:
        return web.json_response(await asyncio.to_thread(robot.state))

    async def frame(request: web.Request) -> web.StreamResponse:
        data = await pictures.get(request.match_info["name"])
        if data is None:
            raise web.HTTPNotFound(text="no picture of that name has come yet")
        return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def instruct(request: web.Request) -> web.StreamResponse:
        try:
            sentence = (await request.json())["instruction"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise web.HTTPBadRequest(text='right would be {"instruction": "push the red block"}') from None
        complaint = await asyncio.to_thread(robot.instruct, str(sentence))
        return web.json_response({"done": not complaint, "message": complaint})

    async def arm(_: web.Request) -> web.StreamResponse:
        done, message = await asyncio.to_thread(robot.arm)
        return web.json_response({"done": done, "message": message})

    async def stop(_: web.Request) -> web.StreamResponse:
        done, message = await asyncio.to_thread(robot.stop)
        return web.json_response({"done": done, "message": message})

    app = web.Application(middlewares=[_gate(host, token)], client_max_size=MAX_REQUEST_BYTES)
    app.router.add_get("/", page)
    app.router.add_get("/state", state)
    app.router.add_get("/frame/{name}", frame)
    for path, handler in (("/instruct", instruct), ("/arm", arm), ("/stop", stop)):
        app.router.add_post(path, handler)
    return app


async def serve(robot: Robot, host: str, port: int, token: str, going: Callable[[], bool]) -> None:
    """Serve while `going()`; the address is printed once it can be opened."""
    runner = web.AppRunner(application(robot, host, token), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"dashboard: http://{host}:{port}/{f'?token={token}' if token else ''}", flush=True)
        while going():
            await asyncio.sleep(0.1)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be opened: {error.strerror}; right would be a free port") from None
    finally:
        await runner.cleanup()


def _gate(host: str, token: str) -> Any:
    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = (request.url.host or "").strip("[]")
        if not token and is_local(host) and not is_local(name):
            raise web.HTTPForbidden(text=f"asked for as {name}; right would be 127.0.0.1")  # DNS rebinding
        given = request.query.get("token", "") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            raise web.HTTPUnauthorized(text="token is missing or wrong; right would be ?token=... as it was printed")
        if request.method == "POST" and MARK not in request.headers:
            raise web.HTTPForbidden(text=f"header {MARK} is missing")
        return await handler(request)

    return gate
