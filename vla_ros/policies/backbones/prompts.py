"""Prompts of one row each, put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vla_ros.networks.vla.backbone import Prompt


def one_behind_another(prompts: Sequence[Prompt], padding: int = 0) -> Prompt:
    """Prompts of one row each -> one of a row for each step, padded on the left, where no action token stands.

    padding: an id that stands for nothing; never the image's.
    """
    longest, first = max(prompt.ids.shape[1] for prompt in prompts), prompts[0]

    def rows(parts: list[Tensor], filler: int = 0) -> Tensor:
        return torch.cat([torch.nn.functional.pad(row, (longest - row.shape[1], 0), value=filler) for row in parts])

    vision = {name: torch.cat([prompt.vision[name] for prompt in prompts]) for name in first.vision}
    token = None if first.token is None else torch.cat([p.token for p in prompts if p.token is not None])
    aligned = {name: rows([prompt.aligned[name] for prompt in prompts]) for name in first.aligned}
    ids, mask = rows([prompt.ids for prompt in prompts], padding), rows([prompt.mask for prompt in prompts])
    return Prompt(ids, mask, vision, aligned, token)
