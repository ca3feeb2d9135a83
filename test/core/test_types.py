"""What crosses the borders between rooms is checked when it is made."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.core.errors import ContractError
from vla_ros.core.types import Observation


@pytest.mark.parametrize("shape", [(), (7,), (1, 1, 7)])
def test_a_state_must_have_rows_and_columns(shape: tuple[int, ...]) -> None:
    with pytest.raises(ContractError, match=r"state must have shape \(T, D\), got "):
        Observation(0, {"front": np.zeros((1, 4, 4, 3), np.uint8)}, np.zeros(shape, np.float32), "")
