"""Novelty: what moves a little or where it was imagined is no news; what was put down or taken away is."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.core.surprise.novelty import REACH, SIDE, came_and_went, cells_of, farness, picture_of

RED = (1.0, 0.0, 0.0)


def table(*places: tuple[int, int]) -> np.ndarray:
    """(3, 64, 64): white, with red blocks of five pixels at the places."""
    picture = np.ones((3, SIDE, SIDE), np.float32)
    for row, column in places:
        picture[:, row : row + 5, column : column + 5] = np.array(RED)[:, None, None]
    return picture


def test_what_lies_still_or_moves_a_little_is_no_news():
    before = table((20, 20))
    assert came_and_went(before, before, [before]) == (0, 0)
    for step in ((REACH, 0), (0, -REACH), (REACH, REACH)):
        now = table((20 + step[0], 20 + step[1]))
        assert came_and_went(now, before, [before]) == (0, 0), step


def test_what_was_imagined_is_no_news():
    before, now = table((20, 20)), table((40, 40))
    assert came_and_went(now, before, [now]) == (0, 0)
    assert came_and_went(now, before, [before, now]) == (0, 2), "one prediction says that it stays"


def test_a_block_put_down_comes_and_one_taken_away_goes():
    with_one, with_two = table((20, 20)), table((20, 20), (40, 40))
    came, went = came_and_went(with_two, with_one, [with_one])
    assert came == pytest.approx(2) and went < 0.3, "what it covers goes, as far as its middle"
    came, went = came_and_went(with_one, with_two, [with_two])
    assert went == pytest.approx(2) and came < 0.3


def test_what_enters_at_the_border_is_no_news():
    assert came_and_went(table((-3, 30)), table(), [table()])[0] == 0
    assert came_and_went(table((0, 30)), table(), [table()])[0] > 0, "a whole block is more than that"


def test_farness_is_the_least_distance_within_reach():
    draw = np.random.default_rng(0)
    one, other = (draw.uniform(size=(3, 9, 7)).astype(np.float32) for _ in range(2))
    found = farness(one, other)
    for row, column in ((0, 0), (4, 3), (8, 6)):
        near = [
            ((one[:, row, column] - other[:, r, c]) ** 2).sum()
            for r in range(max(0, row - REACH), min(9, row + REACH + 1))
            for c in range(max(0, column - REACH), min(7, column + REACH + 1))
        ]
        assert found[row, column] == pytest.approx(min(near))


def test_a_large_picture_is_looked_at_in_parts():
    frame = np.random.default_rng(0).integers(0, 256, (224, 160, 3), dtype=np.uint8)
    picture = picture_of(frame)
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.mean() == pytest.approx(cells_of(frame, 1, 1).mean(), abs=0.01)
    assert np.allclose(picture_of(frame[:SIDE, :SIDE]), frame[:SIDE, :SIDE].transpose(2, 0, 1) / 255)
