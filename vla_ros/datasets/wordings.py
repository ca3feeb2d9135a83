"""The wordings of a task's instruction."""

from __future__ import annotations

from vla_ros.sim.tabletop.tasks import TASKS, instruction_to_task, wordings


def sentences_of(task: str, held_out: bool = False) -> list[str]:
    """Return the wordings of a tabletop task, given its name or a wording; other sentences have only themselves."""
    known = TASKS.get(task) or instruction_to_task(task)
    return [task] if known is None else list(wordings(known, held_out=held_out))
