"""The bench of the recorder, with one small camera for a second."""

from __future__ import annotations

import pytest
from live_nodes import new_domain

from vla_ros.cli.bench_bags import bench_bags


@pytest.mark.live
def test_every_picture_is_on_the_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(new_domain()))
    report = bench_bags(cameras=2, width=64, height=48, seconds=1.0)
    assert report["sent"] == 2 * 30
    assert report["recorded"] == report["sent"] and set(report["lost"].values()) == {0}
