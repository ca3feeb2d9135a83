"""Results that are computed once for all clients: the state, an image."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REFRESH_HZ, QUALITY = 10.0, 80


class Shared:
    """The result of `make` for each name, shared by all clients, made at most `REFRESH_HZ` times a second."""

    def __init__(self, make: Callable[[str], bytes | None]) -> None:
        self._make = make
        self._made: dict[str, tuple[float, asyncio.Future[bytes | None]]] = {}

    async def get(self, name: str) -> bytes | None:
        """Return a result at most 1 / REFRESH_HZ old; all who ask while it is being made get the same one."""
        now_s = time.monotonic()
        if name not in self._made or self._old(name, now_s):
            for known in [known for known in self._made if self._old(known, now_s)]:
                del self._made[known]  # unused names must not pile up
            self._made[name] = now_s, asyncio.ensure_future(asyncio.to_thread(self._make, name))
        return await asyncio.shield(self._made[name][1])  # a client that disconnects must not cancel it for the others

    def _old(self, name: str, now_s: float) -> bool:
        began_s, making = self._made[name]
        return making.done() and now_s - began_s >= 1 / REFRESH_HZ


def jpeg(frame: NDArray[np.uint8] | None) -> bytes | None:
    """Encode (H, W, 3) RGB."""
    if frame is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
