"""/diagnostics: whose a status is, by node, robot and package; and that none floods those who listen."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from waiting import until

from vla_ros.ros.diagnostics import OK, WARN, Diagnostics, Report, node_of, status, waiting


def said(name: str, **values: str) -> DiagnosticStatus:
    return DiagnosticStatus(name=name, values=[KeyValue(key=key, value=value) for key, value in values.items()])


@pytest.mark.parametrize(
    ("name", "namespace", "node"),
    [
        ("/policy", "/", "policy"),
        ("/left/policy", "/left", "policy"),
        ("/left/policy", "/", "left/policy"),
        ("/right/policy", "/left", None),
        ("/policy", "/left", None),
        ("/lefty/policy", "/left", None),
        ("/left/", "/left", None),
        ("policy", "/", None),
        ("", "/", None),
        ("/a\x1b[2J", "/", "a\\x1b[2J"),
    ],
)
def test_a_status_is_known_by_package_and_namespace(name: str, namespace: str, node: str | None) -> None:
    assert node_of(said(name, package="vla_ros"), namespace) == node
    assert node_of(said(name, package="another"), namespace) is None and node_of(said(name), namespace) is None


def test_no_text_is_longer_than_a_line() -> None:
    """A joint state of 100000 names made one value of 800 kB, once a second, for everyone who listens."""
    values = {"last refused input": "x" * 800_000, "k" * 1000: 1.0, "rate_hz": 9.98765}
    found = status("/policy", Report(WARN, "y" * 800_000, values))
    assert len(found.message) == 300 and all(len(v.value) <= 300 and len(v.key) <= 60 for v in found.values)
    assert found.values[2].value == "9.988" and found.message.endswith("…")


def test_who_waits_while_an_input_is_refused_says_so() -> None:
    assert waiting("waiting", "", {}) == Report(OK, "waiting", {})
    assert waiting("waiting", "camera 'front': 9 refused", {}) == Report(WARN, "waiting; camera 'front': 9 refused", {})


@pytest.mark.live
def test_two_robots_are_told_apart(rclpy_context: object) -> None:
    import rclpy

    nodes = [rclpy.create_node("policy", namespace=name) for name in ("left", "right")]
    heard: dict[str, DiagnosticStatus] = {}
    nodes[0].create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: heard.update({m.status[0].name: m.status[0]}), 10
    )
    tellers = [Diagnostics(node, lambda: Report(OK, "well"), f"robot {node.get_namespace()}") for node in nodes]

    def both() -> bool:
        for teller in tellers:
            teller.publish()
        rclpy.spin_once(nodes[0], timeout_sec=0.05)
        return len(heard) == 2

    until(both, 10, "both")
    assert {name: one.hardware_id for name, one in heard.items()} == {
        "/left/policy": "robot /left",
        "/right/policy": "robot /right",
    }
    assert [node_of(one, "/right") for one in heard.values()].count("policy") == 1
    for node in nodes:
        node.destroy_node()
