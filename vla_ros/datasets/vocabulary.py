"""Every word of the tabletop: of its instructions, and of questions and answers about its scenes."""

from __future__ import annotations

from vla_ros.datasets.changes import every_change
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.questions import every_sentence
from vla_ros.datasets.wordings import sentences_of
from vla_ros.policies.backbones.words import Words, collect
from vla_ros.sim.tabletop.marks import SENTENCE
from vla_ros.sim.tabletop.tasks import TASKS, wordings


def tabletop_words() -> Words:
    """Return the words of the training set, without those that occur only in held-out sentences.

    Words of questions follow those of instructions, so that a model trained on instructions alone keeps its ids.
    """
    told = collect(sentence for task in TASKS.values() for sentence in wordings(task)).known
    asked = collect((*every_sentence(), *every_change())).known
    known = (*told, *(word for word in asked if word not in told))
    return Words((*known, *(word for word in collect([SENTENCE]).known if word not in known)))


def words_of_data(data: Demonstrations) -> Words:
    """Return the tabletop's words, followed by those of the data's own sentences."""
    known = tabletop_words().known
    told = collect(sentence for task in data.meta["tasks"] for sentence in sentences_of(task)).known
    return Words((*known, *(word for word in told if word not in known)))
