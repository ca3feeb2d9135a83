"""Which sentences an episode may be told with."""

from __future__ import annotations

from vla_ros.sim.tabletop.tasks import TASKS, instruction_to_task, wordings


def sentences_of(task: str, held_out: bool = False) -> list[str]:
    """Return the wordings of a tabletop task, by its name or one of its sentences; any other sentence is its own."""
    known = TASKS.get(task) or instruction_to_task(task)
    return [task] if known is None else list(wordings(known, held_out=held_out))
