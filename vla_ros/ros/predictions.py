"""What a world model imagines, as topics, and how long that takes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.surprise.expectation import Expectation
from vla_ros.core.timing import LatencyStats, RateMeter
from vla_ros.core.types import NS_PER_S, Observation
from vla_ros.ros.images import array_to_image

Frame = NDArray[np.uint8]
Draw = Callable[[Frame, Frame, Frame, float], Frame]


class Predictions:
    """Publishes expectations, camera by camera.

    publish: makes the publisher of a topic. draw: makes a picture of what a camera saw, what it was expected to see
    and what it then saw, so many seconds later.
    """

    def __init__(self, cameras: tuple[str, ...], publish: Callable[[str], Any], draw: Draw) -> None:
        self._predicted = {name: publish(f"~/{name}/predicted") for name in cameras}
        self._compared = {name: publish(f"~/{name}/comparison") for name in cameras}
        self._draw = draw

    def show(self, expectation: Expectation) -> None:
        """Publish every frame, stamped with the moment it is expected at."""
        for name, publisher in self._predicted.items():
            for frame, due_ns in zip(expectation.prediction.images[name], expectation.due_ns.tolist(), strict=True):
                publisher.publish(array_to_image(frame, due_ns, name))

    def compare(self, expectation: Expectation, came: Observation) -> None:
        """Publish the last frames beside what came, if somebody listens."""
        due_ns, seen = int(expectation.due_ns[-1]), expectation.observation
        for name, publisher in self._compared.items():
            if publisher.get_subscription_count():
                now, expected = seen.images[name][-1], expectation.prediction.images[name][-1]
                picture = self._draw(now, expected, came.images[name][-1], (due_ns - seen.stamp_ns) / NS_PER_S)
                publisher.publish(array_to_image(picture, due_ns, name))


class Pace:
    """How often predictions are made, how long each takes, and how long of that it waits for its turn."""

    def __init__(self) -> None:
        self.rate = RateMeter()
        self._took, self._waited = LatencyStats(), LatencyStats()

    def made(self, now_ns: int, started_ns: int, waited_ns: int) -> None:
        """Note a prediction. started_ns: on the steady clock [ns]; waited_ns: of its time."""
        self._took.add_ns(time.monotonic_ns() - started_ns)
        self._waited.add_ns(waited_ns)
        self.rate.tick(now_ns)

    def values(self, now_ns: int) -> dict[str, object]:
        """Return the figures for diagnostics."""
        return {
            "predictions": self.rate.count,
            "prediction rate_hz": self.rate.rate_hz(now_ns),
            "prediction_ms p50": self._took.quantile_ms(0.5),
            "prediction_ms p99": self._took.quantile_ms(0.99),
            "waited_ms p50": self._waited.quantile_ms(0.5),
        }
