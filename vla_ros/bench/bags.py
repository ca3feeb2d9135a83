"""`vla-ros bench bags`: whether the recorder loses images of several raw cameras."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from vla_ros.bags.reading.reader import open_bag
from vla_ros.core.errors import ConfigError
from vla_ros.launcher.running import launch

RATE_HZ = 30.0


def bench_bags(cameras: int, width: int, height: int, seconds: float) -> dict[str, Any]:
    """Record `cameras` raw cameras at 30 Hz; count the images that were sent and those in the bag."""
    topics = [f"/camera{i}/image_raw" for i in range(cameras)]
    with tempfile.TemporaryDirectory() as name:
        bag, out = Path(name) / "bag", Path(name) / "sent.json"
        words = {
            "bag": bag,
            "out": out,
            "topics": " ".join(topics),
            "width": width,
            "height": height,
            "rate_hz": RATE_HZ,
            "seconds": float(seconds),
        }
        code = launch("bench_bags.launch.yaml", [f"{key}:={value}" for key, value in words.items()], to_return=True)
        if not out.is_file():
            raise ConfigError(f"the bench ended without a report (exit code {code}); the lines above say why")
        sent = int(json.loads(out.read_text(encoding="utf-8"))["sent"])
        with open_bag(bag) as found:
            counts = {topic.name: topic.count for topic in found.topics if topic.name in topics}
        return {
            "cameras": f"{cameras} of {width}x{height} at {RATE_HZ:g} Hz",
            "seconds": seconds,
            "MB_per_s": cameras * width * height * 3 * RATE_HZ / 1e6,
            "sent": sent * cameras,
            "recorded": sum(counts.values()),
            "lost": {topic: sent - counts.get(topic, 0) for topic in topics},
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench bags`."""
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to record")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    return bench_bags(3, 640, 480, args.seconds)
