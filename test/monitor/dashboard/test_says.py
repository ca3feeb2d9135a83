"""What is kept of `/diagnostics`, on which anyone may write anything."""

from __future__ import annotations

import json

import pytest

from vla_ros.monitor.dashboard.says import FORGET_S, MOST_OTHERS, Says, short_name

OURS = [("package", "vla_ros")]


def test_a_flood_of_names_takes_no_memory_and_no_node_its_place():
    now_s = [0.0]
    says = Says("/", lambda: now_s[0])
    for number in range(20_000):
        says.hear(f"node{number}", "vla_ros", "ok", "x" * 100_000, [(f"k{n}", "y" * 10_000) for n in range(3)])
    says.hear("/commander", "ur5e", "ok", "armed", [("mode", "armed"), *OURS])
    told = says.told()
    assert len(told) == MOST_OTHERS + 1 and told["commander"]["message"] == "armed"
    assert len(json.dumps(told)) < 500_000
    now_s[0] = FORGET_S + 1
    assert says.told() == {}


def test_a_status_of_many_large_values_is_cut_and_its_reason_is_whole():
    says = Says()
    reason = "the plan leaves the limits: " + "shoulder_pan_joint " * 60
    values = [("mode", "fault"), ("reason", reason), *((f"key {n}" * 100, "z" * 9000) for n in range(1000)), *OURS]
    assert says.hear("commander", "vla_ros", "error", "fault: " + reason, values) == "commander"
    kept = says.told()["commander"]
    assert kept["values"]["reason"] == reason and kept["message"] == "fault: " + reason
    assert len(json.dumps(kept)) < 30_000


@pytest.mark.parametrize(
    ("name", "namespace", "short"),
    [
        ("commander", "/", "commander"),
        ("commander", "/robot1", "commander"),
        ("/commander", "/", "commander"),
        ("/robot1/commander", "/robot1", "commander"),
        ("/robot1/commander", "/", None),
        ("/robot2/commander", "/robot1", None),
        ("/robot1/left/commander", "/robot1", None),
        ("/commander", "/robot1", None),
        ("a/b", "/", None),
        ("/", "/", None),
        ("", "/", None),
        ("x" * 300, "/", None),
    ],
)
def test_a_node_is_known_by_the_last_part_of_its_name_within_its_robot(name, namespace, short):
    assert short_name(name, namespace) == short


def test_only_what_is_ours_is_heard():
    says = Says("/robot1")
    assert says.hear("commander", "other driver", "ok", "", [("mode", "armed")]) is None
    assert says.hear("/robot1/commander", "ur5e_tabletop", "ok", "", OURS) == "commander"
    assert says.hear("/robot2/commander", "ur5e_tabletop", "ok", "", OURS) is None
    assert says.hear("commander", "vla_ros", "ok", "", []) == "commander"
