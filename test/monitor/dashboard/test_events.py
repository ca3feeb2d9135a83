"""What the page tells of what happened, and of how the episodes went."""

from __future__ import annotations

from vla_ros.monitor.dashboard.events import MOST_EVENTS, Episodes, Events


def test_a_change_is_written_down_once_with_its_time():
    now_s = [100.0]
    events = Events(lambda: now_s[0])
    for _ in range(5):
        events.hear("commander", "warn", "disarmed: never armed", "disarmed")
    now_s[0] = 110.0
    for message in ("armed", "armed", "armed"):
        events.hear("commander", "ok", message, "armed")
    now_s[0] = 120.0
    for _ in range(3):
        events.hear("commander", "error", "fault: the plan is stale", "fault")
    events.hear("policy", "ok", "planning")
    events.hear("policy", "ok", "waiting for an instruction")
    assert [(event["at_s"], event["level"], event["text"]) for event in events.told()] == [
        (100.0, "warn", "commander: disarmed: never armed"),
        (110.0, "ok", "commander: armed"),
        (120.0, "error", "commander: fault: the plan is stale"),
    ]


def test_a_flood_is_bounded():
    events = Events()
    for number in range(10_000):
        events.hear(f"node {number}", "error", "x" * 10_000)
        events.add("warn", "y" * 10_000)
    assert len(events.told()) == MOST_EVENTS == len(events._levels)
    assert max(len(event["text"]) for event in events.told()) <= 300


def test_episodes_are_counted_by_how_they_ended():
    now_s = [0.0]
    episodes = Episodes(lambda: now_s[0])
    episodes.mark("end", True)  # of one that began before we listened
    assert episodes.told() == {"running_s": None, "ended": 0, "last": None, "succeeded": 0, "failed": 0}
    for success in (True, True, False, None):
        episodes.mark("start", None)
        now_s[0] += 2.5
        assert episodes.told()["running_s"] == 2.5
        episodes.mark("end", success)
    assert episodes.told() == {"running_s": None, "ended": 4, "last": None, "succeeded": 2, "failed": 1}
