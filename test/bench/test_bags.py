"""The benches of the recorder, with small cameras for a second, and of the export."""

from __future__ import annotations

import pytest
from live_nodes import new_domain

from vla_ros.bench.bags import bench_bags
from vla_ros.bench.export import bench_export


@pytest.mark.live
def test_every_picture_is_on_the_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(new_domain()))
    report = bench_bags(cameras=2, width=64, height=48, seconds=1.0)
    assert report["sent"] == 2 * 30
    assert report["recorded"] == report["sent"] and set(report["lost"].values()) == {0}


def test_what_the_export_is_timed_with_is_exported() -> None:
    report = bench_export(size=96, seconds=6.0)
    assert (report["episodes"], report["frames"]) == (2, 59) and report["times_real_time"] > 0  # type: ignore[operator]
