"""Which episodes a series holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.core.errors import VlaRosError
from vla_ros.monitor.demo.episodes import drawn, repeated, tour
from vla_ros.monitor.demo.series import Settings, planned_episodes
from vla_ros.sim.environment import Variant
from vla_ros.sim.tabletop.environment import choose
from vla_ros.sim.tabletop.tasks import TASKS, wordings

SENTENCES = {name: wordings(task) for name, task in TASKS.items()}
FAMILIES = {name: task.family for name, task in TASKS.items()}


def settings(**given: object) -> Settings:
    values: dict[str, object] = {
        "instruction": "",
        "series": "tour",
        "episodes": 0,
        "seed": 5,
        "time_limit_s": 12.0,
        "out": Path("out"),
    }
    return Settings(**{**values, **given})  # type: ignore[arg-type]


def test_the_tour_visits_every_task_once_and_changes_family_early() -> None:
    episodes = tour(SENTENCES, FAMILIES, seed=7)
    assert sorted(episode.task for episode in episodes) == sorted(TASKS)
    assert len({FAMILIES[episode.task] for episode in episodes[:4]}) == 4
    assert [episode.seed for episode in episodes] == list(range(7, 7 + len(TASKS)))
    assert all(episode.instruction in SENTENCES[episode.task] for episode in episodes)


def test_a_tour_may_be_shorter_or_go_round_again() -> None:
    assert tour(SENTENCES, FAMILIES, 7, 2) == tour(SENTENCES, FAMILIES, 7)[:2]
    assert len(tour(SENTENCES, FAMILIES, 7, 30)) == 30


def test_drawn_episodes_are_those_of_eval() -> None:
    for episode in drawn(SENTENCES, 10000, 40):
        assert (episode.task, episode.instruction) == choose(episode.seed, Variant())


def test_one_sentence_runs_once_or_as_often_as_asked() -> None:
    assert [e.seed for e in repeated("go", "", 3, 0)] == [3]
    assert [e.seed for e in repeated("go", "", 3, 3)] == [3, 4, 5]


def test_the_plan_follows_the_settings() -> None:
    assert [e.task for e in planned_episodes(settings(instruction="go left"), SENTENCES, FAMILIES, "")] == [""]
    assert len(planned_episodes(settings(), SENTENCES, FAMILIES, "")) == len(TASKS)
    assert planned_episodes(settings(series="random", episodes=3), SENTENCES, FAMILIES, "") == drawn(SENTENCES, 5, 3)
    assert settings(instruction="x").pictures and not settings(series="random").pictures


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"series": "tuor"}, "did you mean 'tour'"),
        ({"episodes": -1}, "episodes and seed must be >= 0, got -1 and 5"),
        ({"seed": -1}, "episodes and seed must be >= 0, got 0 and -1"),
        ({"time_limit_s": 0.0}, "time_limit_s must be > 0 and <= 600, got 0"),
        ({"time_limit_s": float("nan")}, "time_limit_s must be > 0 and <= 600, got nan"),
        ({"instruction": "a" * 10_000}, "10000 characters"),
        ({"instruction": "a\nb"}, "control characters"),
    ],
)
def test_settings_that_describe_no_series_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(VlaRosError, match=message):
        settings(**given)
