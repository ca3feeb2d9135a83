"""One simulator for all of these tests: it belongs to this thread, and every test resets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vla_ros.sim.tabletop.world import Tabletop


@pytest.fixture(scope="session")
def tabletop() -> Iterator[Tabletop]:
    simulator = Tabletop()
    yield simulator
    simulator.close()
