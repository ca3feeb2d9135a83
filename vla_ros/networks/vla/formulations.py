"""A vision-language model as a robot policy, in the four published formulations (RoboVLMs, arXiv 2412.14058).

one_step: an image in, a chunk out of the feature at the action token. discrete: the same, but the model writes the
action as words. interleaved: one pass of the decoder over images and action tokens in turn, a chunk out of each.
policy_head (the default, which the study found best): each step for itself, and a head that remembers over the window.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_ros.networks.vla.action_tokens import ActionTokens
from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.networks.vla.policy_head import Actions, HeadConfig, HeadStream, PolicyHead

Formulation = Literal["one_step", "interleaved", "policy_head"]


def state_mlp(state_dim: int, dim: int) -> nn.Sequential:
    """Joint positions -> what is added to a token."""
    return nn.Sequential(nn.Linear(state_dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


class ContinuousVLA(nn.Module):
    """Backbone and head of the three formulations that regress.

    state_dim: joints whose positions are told beside the images, at the action token; 0 for none, as published.
    """

    def __init__(
        self, backbone: Backbone, head: HeadConfig, formulation: Formulation = "policy_head", state_dim: int = 0
    ) -> None:
        super().__init__()
        if head.in_features != backbone.dim:
            raise ValueError(f"head.in_features is {head.in_features}; the backbone's features have {backbone.dim}")
        if formulation == "one_step" and head.window != 1:
            raise ValueError(f"head.window must be 1 for one_step, got {head.window}")
        if formulation != "policy_head" and head.kind != "fc":
            raise ValueError(f"head.kind must be 'fc' (no memory) for {formulation}, got '{head.kind}'")
        self.formulation = formulation
        self.backbone = backbone
        self.act_head = PolicyHead(head)
        if state_dim:
            self.state = state_mlp(state_dim, backbone.dim)

    def told(self, prompt: Prompt, state: Tensor) -> Prompt:
        """The prompt with the joints' normalised positions (B, state_dim) at its action token."""
        return replace(prompt, token=self.state(state))

    def features(self, prompt: Prompt, steps: int) -> Tensor:
        """A prompt of B steps rows, step by step within each history -> (B, steps, 1, D)."""
        if self.formulation == "interleaved":
            return self.backbone.interleaved_features(prompt, steps)
        return self.backbone.window_features(prompt, steps)

    def forward(self, prompt: Prompt, steps: int) -> Actions:
        """A prompt of B steps rows -> Actions of (B, steps, chunk, .)."""
        return self.act_head(self.features(prompt, steps))


class VLAStream:
    """A policy head fed one step at a time: the images of the past are not looked at again, their features are kept."""

    def __init__(self, model: ContinuousVLA) -> None:
        if model.formulation == "interleaved":
            raise ValueError("an interleaved model looks at its whole window each time; call it with all steps")
        self._model = model
        self._head = HeadStream(model.act_head)

    def reset(self) -> None:
        """Start an episode."""
        self._head.reset()

    @torch.no_grad()
    def push(self, prompt: Prompt) -> Actions:
        """A prompt of B rows, this step's -> the chunk (B, chunk, .)."""
        return self._head.push(self._model.features(prompt, 1)[:, 0])


class DiscreteVLA(nn.Module):
    """The model writes one word for each number of an action."""

    def __init__(self, backbone: Backbone, tokens: ActionTokens, action_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = tokens
        self.action_dim = action_dim

    def loss(self, prompt: Prompt, actions: Tensor) -> Tensor:
        """Cross-entropy of the words of `actions` (B, A), each after the ones before it."""
        ids = self.tokens.encode(actions)
        logits = self.backbone.logits(prompt.followed_by(ids[:, :-1]))[:, -self.action_dim :]  # (B, A, vocabulary)
        return F.cross_entropy(logits.transpose(1, 2), ids)

    def act(self, prompt: Prompt) -> Tensor:
        """(B, A) in [-1, 1]: the likeliest word each time."""
        return self.tokens.decode(self.backbone.generate(prompt, self.action_dim, at_least=self.action_dim))
