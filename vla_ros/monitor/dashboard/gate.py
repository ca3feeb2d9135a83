"""Access control of the dashboard: no foreign pages, no access without the token, no fast guessing.

A token is exchanged once for a session key, which every server generates anew. The key cannot be guessed, so pages that
are logged in, and their STOP, keep working while guesses from the same address are slowed down.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from vla_ros.core.errors import ConfigError
from vla_ros.monitor.dashboard.door import peer_of

MARK = "X-Vla-Ros"  # a foreign page in the same browser cannot set it, so no cross-site request moves the robot
SHORTEST_TOKEN = 8
PUBLIC = ("/", "/page.js", "/page.css")  # the page itself holds nothing; a browser cannot send it a token
FREE_GUESSES, LONGEST_WAIT_S, FORGET_S, MOST_PEERS = 5, 30.0, 600.0, 1024
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "vla_ros",
}


class Guesses:
    """Wrong tokens by peer: a few are free, then each doubles the time in which no token is checked."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._wrong: dict[str, tuple[int, float]] = {}  # how many, and when the last came; oldest first

    def __len__(self) -> int:
        return len(self._wrong)

    def wait_s(self, peer: str) -> float:
        """Return for how long no token of this peer is checked."""
        count, last_s = self._wrong.get(peer, (0, 0.0))
        pause_s = min(2.0 ** (count - FREE_GUESSES), LONGEST_WAIT_S) if count >= FREE_GUESSES else 0.0
        return max(0.0, last_s + pause_s - self._now_s())

    def wrong(self, peer: str) -> None:
        """Count a wrong token."""
        now_s = self._now_s()
        count, last_s = self._wrong.pop(peer, (0, 0.0))
        self._wrong[peer] = (count + 1 if now_s - last_s < FORGET_S else 1), now_s
        while len(self._wrong) > MOST_PEERS:
            del self._wrong[next(iter(self._wrong))]

    def right(self, peer: str) -> None:
        """Forget the wrong tokens of a peer that knows the right one."""
        self._wrong.pop(peer, None)


class Gate:
    """Lets a request pass, or raises an HTTP error."""

    def __init__(self, host: str, token: str) -> None:
        if not is_local(host) and len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"host {host} can be reached from elsewhere, so a token of {SHORTEST_TOKEN} characters or more is "
                "needed: set VLA_ROS_DASHBOARD_TOKEN, or the parameter token_file"
            )
        self._local, self._token = is_local(host), token
        self.session = secrets.token_urlsafe(32)
        self._guesses = Guesses()

    def check(self, request: web.Request) -> None:
        """Raise HTTPException for a request that may not pass."""
        name = _host(request)
        if self._local and not self._token and not is_local(name):
            raise web.HTTPForbidden(text=f"asked for as {name[:100]!r}; open http://127.0.0.1 instead")  # DNS rebinding
        self._check_origin(request)
        if self._token and request.path not in PUBLIC:
            self._check_token(request)
        if request.method == "POST" and MARK not in request.headers:
            raise web.HTTPForbidden(text=f"header {MARK} is missing")

    def _check_origin(self, request: web.Request) -> None:
        allowed = {"same-origin"} if request.method != "GET" else {"same-origin", "none"}
        sites = set(request.headers.getall("Sec-Fetch-Site", []))
        link = request.method == "GET" and request.path == "/"  # any site may link to the page
        if not link and sites - allowed:
            raise web.HTTPForbidden(text="asked for by a page of another site")
        own = _netloc(f"http://{request.host}")
        for origin in request.headers.getall("Origin", []):
            if _netloc(origin) != own:
                raise web.HTTPForbidden(text=f"asked for by a page of another origin, {origin[:100]!r}")

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        peer = peer_of(request.remote or "")
        if not given:
            raise web.HTTPUnauthorized(text="a token is needed: open the page and log in")
        if hmac.compare_digest(given, self.session.encode()):
            return
        if (wait_s := self._guesses.wait_s(peer)) > 0:
            raise web.HTTPTooManyRequests(
                text=f"too many wrong tokens: try again in {wait_s:.0f} s", headers={"Retry-After": f"{wait_s:.0f}"}
            )
        if not hmac.compare_digest(given, self._token.encode()):
            self._guesses.wrong(peer)
            raise web.HTTPUnauthorized(text="the token is wrong, or the dashboard was restarted: log in again")
        self._guesses.right(peer)


def is_local(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _host(request: web.Request) -> str:
    try:
        return request.url.host or ""
    except ValueError:  # a port of 99999
        raise web.HTTPBadRequest(text="the Host header is no host and port") from None


def _netloc(url: str) -> tuple[str | None, int | None]:
    """Return host and port; port None if it is the usual one: a proxy may speak https in front of us."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, -1
    return parts.hostname, None if port in (80, 443) else port
