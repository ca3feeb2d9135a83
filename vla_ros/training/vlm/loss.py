"""What a vision-language model learns from questions and answers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_ros.networks.vla.backbone import Backbone
from vla_ros.policies.backbones.words import PADDING


class SpeechLoss(nn.Module):
    """Cross-entropy of answers, given pictures, or words alone; `learns`: 'projector', 'decoder', or 'all' for both.

    looked: whether pictures come as (B, V, F), what the tower saw in them.
    told: words of a caption, and the tokens that stand for it in the place of pictures: the decoder learns to speak
    from as few tokens as pictures will have, and the projector, later, what to put there. Of training alone.
    """

    def __init__(self, backbone: Backbone, learns: str, looked: bool, told: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.backbone, self.looked = backbone, looked
        if told is not None:
            words, tokens = told
            self.gist = nn.Linear(words * backbone.dim, tokens * backbone.dim)
        inner = backbone.model.model
        backbone.requires_grad_(False)  # the tower and the action token, above all
        inner.multi_modal_projector.requires_grad_(learns != "decoder")
        for part in (inner.language_model, backbone.model.lm_head):
            part.requires_grad_(learns != "projector")

    def forward(
        self,
        questions: Tensor,
        answers: Tensor,
        pictures: Tensor | None = None,
        before: Tensor | None = None,
        told: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Questions (B, Q, L) and answers (B, Q, T) about pictures (B, V, .) and those `before`, or what is `told`."""
        seen = self.see(pictures, before, told)
        return {"answers": written_loss(self.backbone, seen, questions, answers)}

    def see(self, pictures: Tensor | None, before: Tensor | None, told: Tensor | None) -> Tensor:
        """(B, tokens, D): what stands before the words. told: (B, T) words of a caption."""
        if told is not None:
            return self.gist(self.backbone.embed(told).flatten(1)).unflatten(1, (-1, self.backbone.dim))
        shown = [part for part in (before, pictures) if part is not None]
        return torch.cat([pictures_seen(self.backbone, part, self.looked) for part in shown], dim=1)


def pictures_seen(backbone: Backbone, pictures: Tensor, looked: bool) -> Tensor:
    """(..., V, 3, H, W), or where the tower has `looked` (..., V, F) -> (N, V tokens, D), for the decoder."""
    if looked:
        return backbone.project(pictures.flatten(0, -3))
    pictures = pictures.flatten(0, -5)  # (N, V, 3, H, W)
    return backbone.see(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).flatten(1, 2)


def written_logits(backbone: Backbone, seen: Tensor, asked: Tensor, written: Tensor) -> Tensor:
    """(B, K, T, vocabulary): of words (B, K, T), each after those before it, behind (B, K, L), padded on the left."""
    ids = torch.cat([asked, written[..., :-1]], dim=2)
    mask = torch.cat([asked != PADDING, written[..., :-1] != PADDING], dim=2)
    hidden = backbone.decode_apart(seen, backbone.embed(ids), mask)[:, :, asked.shape[2] - 1 :]
    return backbone.model.lm_head(hidden)


def written_loss(backbone: Backbone, seen: Tensor, asked: Tensor, written: Tensor) -> Tensor:
    """Cross-entropy of the words `written`; shapes as of `written_logits`."""
    logits = written_logits(backbone, seen, asked, written)
    return F.cross_entropy(logits.flatten(0, 2), written.flatten(), ignore_index=PADDING)


def words_wrong(backbone: Backbone, seen: Tensor, asked: Tensor, written: Tensor) -> float:
    """Share of wrong words, each after the right ones before it; shapes as of `written_logits`."""
    wrong = written_logits(backbone, seen, asked, written).argmax(-1) != written
    return float(wrong[written != PADDING].float().mean())
