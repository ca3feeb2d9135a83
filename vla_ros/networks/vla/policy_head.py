"""Heads that turn features at the action token into chunks of actions: LSTM and GPT-2 over the history, FC without.

Li et al., "Towards Generalist Robot Policies: What Matters in Building Vision-Language-Action Models" (RoboVLMs,
arXiv 2412.14058). Each step of the history gets a chunk; the newest is the one to execute. Parameter names of the LSTM
head are those of the official code, so that its checkpoints load by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from vla_ros.networks.sizes import MOST_HEADS, MOST_LAYERS, MOST_UNITS, check_sizes

HeadKind = Literal["lstm", "gpt2", "fc"]
# What the library calls keys and values; the old name warns from 5.24 on and goes with 5.40.
STATE = "cache" if "cache" in signature(GPT2Model.forward).parameters else "past_key_values"


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Sizes of a head.

    in_features: of one step, all of its action tokens together; action_dim: pose and one gripper.
    chunk: actions predicted from each step; window: how many steps the head may look back on.
    heads: attention heads, of `gpt2` only.
    """

    in_features: int
    action_dim: int
    chunk: int
    window: int
    kind: HeadKind = "lstm"
    hidden_size: int = 1024
    num_layers: int = 4
    heads: int = 8

    def __post_init__(self) -> None:
        check_sizes(
            self,
            "head.",
            in_features=(2, MOST_UNITS * 1024),
            action_dim=(2, 256),
            chunk=(1, 1024),
            window=(1, 4096),
            hidden_size=(1, MOST_UNITS),
            num_layers=(1, MOST_LAYERS),
            heads=(1, MOST_HEADS),
        )
        if self.kind == "gpt2" and self.hidden_size % self.heads:
            raise ValueError(f"head.hidden_size must be a multiple of {self.heads} heads, got {self.hidden_size}")


@dataclass(frozen=True, slots=True)
class Actions:
    """pose (..., chunk, A - 1) in [-1, 1] as normalised; gripper_logit (..., chunk, 1), above zero is 'open'."""

    pose: Tensor
    gripper_logit: Tensor

    def newest(self) -> Actions:
        """(B, T, chunk, .) -> (B, chunk, .) of the last step."""
        return Actions(self.pose[:, -1], self.gripper_logit[:, -1])


class ReluMlp(nn.Module):
    """Three hidden layers of 1024, 512 and 256 with ReLU; the last, of `out` numbers, is linear."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        sizes = (dim, 1024, 512, 256, out)
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., out)."""
        return self.mlp(x)


class LSTMMemory(nn.LSTM):
    """`nn.LSTM` whose state is None at the start."""

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:  # type: ignore[override]
        """(B, T, F), state -> (B, T, hidden), state after T."""
        return super().forward(x, state)


class GPT2Memory(nn.Module):
    """A causal GPT-2 over the steps; its state is the keys and values of those before."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.in_features, config.hidden_size)
        self.gpt2 = GPT2Model(
            GPT2Config(
                vocab_size=1,
                n_positions=config.window,
                n_embd=config.hidden_size,
                n_layer=config.num_layers,
                n_head=config.heads,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
            )
        )
        del self.gpt2.wte  # it reads features, not words: an embedding of words would be a weight without a use

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(B, T, F), state -> (B, T, hidden), state after T."""
        out = self.gpt2(inputs_embeds=self.project(x), use_cache=not self.training, **{STATE: state})
        return out.last_hidden_state, getattr(out, STATE)


class NoMemory(nn.Sequential):
    """Two layers, each step for itself."""

    def __init__(self, config: HeadConfig) -> None:
        half = config.in_features // 2
        super().__init__(nn.Linear(config.in_features, half), nn.ReLU(), nn.Linear(half, config.hidden_size))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(B, T, F) -> (B, T, hidden), no state."""
        return super().forward(x), None


def memory(config: HeadConfig) -> nn.Module:
    """The part of a head that looks back: `forward(x, state) -> hidden, state`."""
    if config.kind == "lstm":
        return LSTMMemory(config.in_features, config.hidden_size, config.num_layers, batch_first=True)
    return GPT2Memory(config) if config.kind == "gpt2" else NoMemory(config)


class PolicyHead(nn.Module):
    """Features of the steps -> a chunk of actions from every step."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.rnn = memory(config)
        self.actions = ReluMlp(config.hidden_size, config.chunk * (config.action_dim - 1))
        self.gripper = ReluMlp(config.hidden_size, config.chunk)

    def forward(self, features: Tensor) -> Actions:
        """(B, T, tokens, F) -> Actions of (B, T, chunk, .); T is at most the window."""
        return self.step(features, None)[0]

    def step(self, features: Tensor, state: Any) -> tuple[Actions, Any]:
        """The same from a state on: (B, T, tokens, F), state -> Actions of (B, T, chunk, .), state after T."""
        hidden, state = self.rnn(features.flatten(2), state)  # (B, T, hidden)
        chunk = (*hidden.shape[:2], self.config.chunk, -1)
        return Actions(torch.tanh(self.actions(hidden)).view(chunk), self.gripper(hidden).view(chunk)), state


class HeadStream:
    """One feature at a time, as on a robot.

    While the history is shorter than the window the state is carried; once a step leaves the window, the state still
    holds it, so the head runs anew over the last `window` features. Either way the answer is that of the whole window.
    """

    def __init__(self, head: PolicyHead) -> None:
        self._head = head
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._state: Any = None
        self._features: list[Tensor] = []
        self._carried = True

    def push(self, feature: Tensor) -> Actions:
        """(B, tokens, F) -> the chunk (B, chunk, .) from this step."""
        window = self._head.config.window
        self._carried = self._carried and len(self._features) < window
        self._features = [*self._features, feature][-window:]
        if self._carried:
            actions, self._state = self._head.step(feature[:, None], self._state)
        else:
            actions, self._state = self._head(torch.stack(self._features, dim=1)), None
        return actions.newest()
