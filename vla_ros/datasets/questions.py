"""Questions about scenes of the tabletop, with the answers that the simulator knows, and captions.

Everything follows from the privileged positions of a frame (`datasets.expert.auxiliary`), so any frame of the
demonstrations can be asked about. What is too close to call is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.tabletop.scene import COLOURS, HANDLE

Positions = NDArray[np.float32]
CLEAR_M = 0.015  # positions that differ by less are too close to call
SIDE_M, SIDE_CLEAR_M = 0.05, 0.01  # beyond it a block is on the left (+y) or right
OPEN_M, CLOSED_M = 0.06, 0.02  # a drawer in between is neither
CAPTION = "from left to right {} {} {} and the drawer is {}"
LIFTED_M = 0.05  # a block higher than this is in the air; below half of it, on the table


@dataclass(frozen=True, slots=True)
class Scene:
    """Where things are [m]: blocks by colour (3,), fingertips (3,), opening of the drawer."""

    blocks: dict[str, Positions]
    tip: Positions
    drawer: float

    @classmethod
    def of(cls, aux: Positions) -> Scene:
        """Make a scene from (15,) privileged positions."""
        places = aux.reshape(5, 3)
        return cls(dict(zip(COLOURS, places[:3], strict=True)), places[4], HANDLE[0] - float(places[3, 0]))


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer, and its subject: 'colour', 'order', 'place', 'drawer', 'air' or a change."""

    text: str
    answer: str
    about: str


def clear_most(values: dict[str, float]) -> str | None:
    """Return the key of the largest value; None if it is too close to call."""
    first, second = sorted(values, key=values.__getitem__, reverse=True)[:2]
    return first if values[first] - values[second] >= CLEAR_M else None


def which(asked: dict[str, dict[str, float]]) -> Iterator[Question]:
    """Yield for each text the colour whose value is clearly the largest."""
    for text, values in asked.items():
        if (colour := clear_most(values)) is not None:
            yield Question(text, colour, "colour")


def about_ends(scene: Scene) -> Iterator[Question]:
    """Ask which block is at the left or right end of their row."""
    left = {colour: float(place[1]) for colour, place in scene.blocks.items()}
    right = {colour: -y for colour, y in left.items()}
    yield from which({"which block is leftmost": left, "which block is rightmost": right})


def about_colours(scene: Scene) -> Iterator[Question]:
    """Ask which block is where."""
    near = {colour: -float(np.linalg.norm(place - scene.tip)) for colour, place in scene.blocks.items()}
    far = {colour: float(place[0]) for colour, place in scene.blocks.items()}
    yield from about_ends(scene)
    asked = {
        "which block is closest to the gripper": near,
        "which block is farthest from the robot": far,
        "which block is nearest to the robot": {colour: -x for colour, x in far.items()},
    }
    yield from which(asked)


def about_order(scene: Scene) -> Iterator[Question]:
    """Ask which of two blocks is further left."""
    for one, other in permutations(scene.blocks, 2):
        ahead = float(scene.blocks[one][1] - scene.blocks[other][1])
        if abs(ahead) >= CLEAR_M:
            yield Question(f"is the {one} block left of the {other} block", "yes" if ahead > 0 else "no", "order")


def about_places(scene: Scene) -> Iterator[Question]:
    """Ask on which side a block is."""
    for colour, place in scene.blocks.items():
        y = float(place[1])
        if abs(abs(y) - SIDE_M) >= SIDE_CLEAR_M:
            side = "middle" if abs(y) < SIDE_M else "left" if y > 0 else "right"
            yield Question(f"where is the {colour} block", side, "place")


def about_drawer(scene: Scene) -> Iterator[Question]:
    """Ask whether the drawer is open."""
    if scene.drawer >= OPEN_M or scene.drawer <= CLOSED_M:
        yield Question("is the drawer open", "yes" if scene.drawer >= OPEN_M else "no", "drawer")


def about_air(scene: Scene) -> Iterator[Question]:
    """Ask whether a block is lifted."""
    for colour, place in scene.blocks.items():
        if float(place[2]) >= LIFTED_M or float(place[2]) <= LIFTED_M / 2:
            yield Question(f"is the {colour} block in the air", "yes" if place[2] >= LIFTED_M else "no", "air")


About = Callable[[Scene], Iterator[Question]]
KINDS: dict[str, About] = {
    "colour": about_colours,
    "order": about_order,
    "place": about_places,
    "drawer": about_drawer,
    "air": about_air,
}


def caption(scene: Scene) -> Question:
    """Return the question for a description, and its answer."""
    order = sorted(scene.blocks, key=lambda colour: -float(scene.blocks[colour][1]))
    drawer = "open" if scene.drawer >= (OPEN_M + CLOSED_M) / 2 else "closed"
    return Question("describe the scene", CAPTION.format(*order, drawer), "caption")


def every_sentence() -> Iterator[str]:
    """Yield every sentence that may be asked or answered about one moment, for the vocabulary."""
    yield from ("yes no left right middle red green blue", "describe the scene")
    yield from (CAPTION.format(*COLOURS, state) for state in ("open", "closed"))
    yield from (f"which block is {place}" for place in ("leftmost", "rightmost", "closest to the gripper"))
    yield from ("which block is farthest from the robot", "which block is nearest to the robot", "is the drawer open")
    yield from (f"is the {one} block left of the {other} block" for one, other in permutations(COLOURS, 2))
    yield from (f"where is the {colour} block" for colour in COLOURS)
    yield from (f"is the {colour} block in the air" for colour in COLOURS)
