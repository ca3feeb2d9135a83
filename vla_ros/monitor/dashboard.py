"""The dashboard's server: one page, the robot's state as JSON, pictures as JPEG. Neither ROS nor the robot in here.

A browser asks for each picture when it has drawn the last, so that a slow or stalled one costs nobody anything: no
queue grows for it. A picture, or the state, is made once for all who ask, at most `REFRESH_HZ` times a second.
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
REFRESH_HZ, QUALITY = 10.0, 80
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


class Shared:
    """What `make` gives for a name, made once for all who ask, and at most `REFRESH_HZ` times a second."""

    def __init__(self, make: Callable[[str], bytes | None]) -> None:
        self._make = make
        self._made: dict[str, tuple[float, asyncio.Future[bytes | None]]] = {}

    async def get(self, name: str) -> bytes | None:
        """What is at most 1 / REFRESH_HZ old; whoever asks while it is being made waits for the same."""
        now_s = time.monotonic()
        if name not in self._made or self._old(name, now_s):
            for known in [known for known in self._made if self._old(known, now_s)]:
                del self._made[known]  # names that nobody asks for any more must not pile up
            self._made[name] = now_s, asyncio.ensure_future(asyncio.to_thread(self._make, name))
        return await asyncio.shield(self._made[name][1])  # one who leaves takes nothing from the others

    def _old(self, name: str, now_s: float) -> bool:
        began_s, making = self._made[name]
        return making.done() and now_s - began_s >= 1 / REFRESH_HZ


def jpeg(frame: NDArray[np.uint8] | None) -> bytes | None:
    """(H, W, 3) RGB, encoded."""
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
    pictures = Shared(lambda name: jpeg(robot.frame(name)))
    states = Shared(lambda _: json.dumps(robot.state()).encode())

    async def page(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE, headers={"Cache-Control": "no-store"})

    async def state(_: web.Request) -> web.StreamResponse:
        return web.Response(body=await states.get(""), content_type="application/json")

    async def frame(request: web.Request) -> web.StreamResponse:
        data = await pictures.get(request.match_info["name"])
        if data is None:
            raise web.HTTPNotFound(text="no picture of that name has come yet")
        return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def instruct(request: web.Request) -> web.StreamResponse:
        try:
            sentence = (await request.json())["instruction"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            sentence = None
        if not isinstance(sentence, str):
            raise web.HTTPBadRequest(text='right would be {"instruction": "push the red block"}')
        complaint = await asyncio.to_thread(robot.instruct, sentence)
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
