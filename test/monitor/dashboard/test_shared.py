"""What the dashboard's server makes once for all who ask."""

from __future__ import annotations

import asyncio
import time

import pytest

from vla_ros.monitor.dashboard.shared import REFRESH_HZ, Shared


class Maker:
    """Counts how often it was asked, and takes its time."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.made, self.seconds = 0, seconds

    def __call__(self, name: str) -> bytes | None:
        self.made += 1
        time.sleep(self.seconds)
        if name == "broken":
            raise ValueError(name)
        return None if name == "unknown" else f"{name} {self.made}".encode()


def test_all_who_ask_at_once_get_the_same_and_later_ones_something_newer():
    maker = Maker()

    async def ask() -> None:
        shared = Shared(maker)
        assert set(await asyncio.gather(*(shared.get("front") for _ in range(20)))) == {b"front 1"}
        await asyncio.sleep(1.2 / REFRESH_HZ)
        assert await shared.get("front") == b"front 2"

    asyncio.run(ask())


def test_one_who_leaves_takes_nothing_from_the_others():
    async def ask() -> None:
        shared = Shared(Maker(0.1))
        leaves, stays = asyncio.ensure_future(shared.get("front")), asyncio.ensure_future(shared.get("front"))
        await asyncio.sleep(0.02)
        leaves.cancel()
        assert await stays == b"front 1"

    asyncio.run(ask())


def test_a_failure_is_told_and_does_not_last():
    async def ask() -> None:
        shared = Shared(Maker(0.0))
        with pytest.raises(ValueError, match="broken"):
            await shared.get("broken")
        assert await shared.get("front") == b"front 2"

    asyncio.run(ask())


def test_names_that_nobody_knows_do_not_pile_up():
    async def ask() -> int:
        shared = Shared(Maker(0.0))
        for number in range(50):
            await shared.get("unknown")
            await shared.get(f"unknown {number}")
        await asyncio.sleep(1.2 / REFRESH_HZ)
        await shared.get("front")
        return len(shared._made)

    assert asyncio.run(ask()) == 1
