"""The dashboard's server: one page, the robot's state as JSON, images as JPEG. There is no ROS in here.

A browser requests an image once it has drawn the last one, so a slow or stalled browser builds up no queue. An image,
or the state, is made once for all clients, at most `REFRESH_HZ` times a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError
from vla_ros.monitor.dashboard.door import ACCEPTED_AT_ONCE, Door, lengthen_queue, room_for_connections
from vla_ros.monitor.dashboard.gate import HEADERS, Gate
from vla_ros.monitor.dashboard.safety import Answer, Brakes, Safety
from vla_ros.monitor.dashboard.shared import Shared, jpeg

PAGE = Path(__file__).parent / "page"
MAX_REQUEST_BYTES = 4096
BODY_S = 5.0  # for a client to send the rest of its request
END_S = 0.5  # for requests under way when the server ends
COMPLAIN_S = 5.0  # at most one line in the log in this time
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Robot(Brakes, Protocol):
    """What the dashboard needs of a robot. Calls may block, except those of `Brakes` that say otherwise."""

    def state(self) -> Mapping[str, Any]:
        """Return what the page shows, as plain data without NaN."""

    def frame(self, name: str) -> NDArray[np.uint8] | None:
        """Return the newest picture of that name, (H, W, 3) RGB."""

    def instruct(self, sentence: str) -> str:
        """Give an instruction; return a complaint, or nothing."""


def application(robot: Robot, safety: Safety, gate: Gate, door: Door) -> web.Application:
    """Return the server's application."""
    pictures = Shared(lambda name: jpeg(robot.frame(name)))
    states = Shared(
        lambda _: json.dumps({**robot.state(), "locked_out": safety.locked_out, "watched": safety.watched}).encode()
    )

    async def state(_: web.Request) -> web.StreamResponse:
        return web.Response(body=await states.get(""), content_type="application/json")

    async def frame(request: web.Request) -> web.StreamResponse:
        data = await pictures.get(request.match_info["name"])
        if data is None:
            raise web.HTTPNotFound(text="no picture of that name has come yet")
        return web.Response(body=data, content_type="image/jpeg")

    async def instruct(request: web.Request) -> web.StreamResponse:
        complaint = await asyncio.to_thread(robot.instruct, await _sentence(request))
        return _answer(Answer(not complaint, complaint))

    async def login(_: web.Request) -> web.StreamResponse:
        return web.json_response({"done": True, "message": "", "session": gate.session})

    async def alive(_: web.Request) -> web.StreamResponse:
        safety.beat()
        return _answer(Answer(True))

    app = web.Application(middlewares=[_answers(door), _passes(gate)], client_max_size=MAX_REQUEST_BYTES)
    app.on_response_prepare.append(_protect)
    for path, file, kind in (
        ("/", "index.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
    ):
        app.router.add_get(path, partial(_static, (PAGE / file).read_text(encoding="utf-8"), kind))
    app.router.add_get("/state", state)
    app.router.add_get("/frame/{name}", frame)
    for path, handler in (("/instruct", instruct), ("/login", login), ("/alive", alive)):
        app.router.add_post(path, handler)
    for path, act in (("/arm", safety.arm), ("/stop", safety.stop), ("/release", safety.release)):
        app.router.add_post(path, partial(_act, act))
    return app


async def serve(
    robot: Robot, host: str, port: int, token: str, going: Callable[[], bool], show_token: bool = False
) -> None:
    """Serve while `going()`; print the address once it can be opened.

    show_token: print it as part of the address, in the fragment, which a browser tells no server.
    ConfigError if the address cannot be opened, or would be open to the network without a token.
    """
    gate, safety = Gate(host, token), Safety(robot)
    most = room_for_connections()
    door = Door(most, min(most * 3 // 4, 128))
    runner = web.AppRunner(
        application(robot, safety, gate, door),
        access_log=None,
        logger=_log(),
        shutdown_timeout=END_S,
        lingering_time=END_S,
    )
    await runner.setup()
    assert runner.server is not None
    keeping = asyncio.ensure_future(safety.keep())
    server = None
    try:
        server = await _listen(door.guard(runner.server), host, port)
        place = f"[{host}]" if ":" in host else host
        print(f"dashboard: http://{place}:{port}/{f'#token={token}' if show_token else ''}", flush=True)
        while going():
            door.sweep()
            if keeping.done():
                keeping.result()  # its error ends the server
            await asyncio.sleep(0.1)
    finally:
        if server is not None:
            server.close()
        keeping.cancel()
        safety.close()
        await runner.cleanup()


async def _listen(make: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    try:
        server = await asyncio.get_running_loop().create_server(make, host, port, backlog=ACCEPTED_AT_ONCE)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be opened: {error.strerror}; give a free port with `port`") from None
    lengthen_queue(server.sockets)
    return server


def _answer(answer: Answer) -> web.StreamResponse:
    words = {"done": answer.done, "message": answer.message}
    return web.json_response(words, status=409 if answer.refused else 200)


async def _act(act: Callable[[], Awaitable[Answer]], _: web.Request) -> web.StreamResponse:
    return _answer(await act())


async def _static(text: str, kind: str, _: web.Request) -> web.StreamResponse:
    return web.Response(text=text, content_type=kind)


async def _sentence(request: web.Request) -> str:
    try:
        async with asyncio.timeout(BODY_S):
            sentence = json.loads(await request.read())["instruction"]
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the request did not come whole within {BODY_S:g} s") from None
    except (ValueError, KeyError, TypeError, RecursionError):  # no UTF-8, no JSON, or JSON of something else
        sentence = None
    if not isinstance(sentence, str):
        raise web.HTTPBadRequest(text='the request must be like {"instruction": "push the red block"}')
    return sentence


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _passes(gate: Gate) -> Any:
    @web.middleware
    async def passes(request: web.Request, handler: Handler) -> web.StreamResponse:
        gate.check(request)
        return await handler(request)

    return passes


def _answers(door: Door) -> Any:
    """Answer every request in one line, whatever is wrong with it or with us."""

    @web.middleware
    async def answers(request: web.Request, handler: Handler) -> web.StreamResponse:
        with door.working(request.transport):
            try:
                return await handler(request)
            except (web.HTTPException, asyncio.CancelledError):
                raise
            except Exception as error:
                request.protocol.logger.error("%s %.100s: %r", request.method, request.path, error)
                raise web.HTTPInternalServerError(text=f"{type(error).__name__} within the dashboard") from None

    return answers


class _Short(logging.Filter):
    """One line per record, without a traceback, and at most one every `COMPLAIN_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + COMPLAIN_S
        cause = record.exc_info[1] if record.exc_info else None
        words = record.getMessage() + (f": {cause!r}" if cause is not None else "")
        record.msg, record.args = f"dashboard: {' '.join(words.split())[:300]}", ()
        record.exc_info = record.exc_text = None
        return True


def _log() -> logging.Logger:
    log = logging.getLogger("vla_ros.dashboard")
    log.propagate = False
    log.filters, log.handlers = [_Short()], [logging.StreamHandler()]
    return log
