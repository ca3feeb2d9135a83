"""Vision-language models as backbones of a policy: one interface over the classes of `transformers`.

A backbone reads images and words and gives the last hidden state at a learnable action token behind them (RoboVLMs,
arXiv 2412.14058), or writes text. How images enter the sequence stays the library's own code: a prompt holds a
placeholder for every visual token (`any_resolution` counts them), and the tensors that the family's processor makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import LlamaConfig, LlavaConfig
from transformers import ViTConfig as LibraryViTConfig

Family = Literal["tiny", "llava", "llava_hd", "llava_next", "llava_onevision", "kosmos2", "paligemma"]

CLASSES: dict[str, str] = {
    "tiny": "LlavaForConditionalGeneration",
    "llava": "LlavaForConditionalGeneration",
    "llava_hd": "LlavaNextForConditionalGeneration",  # with `any_resolution.hd_config`
    "llava_next": "LlavaNextForConditionalGeneration",
    "llava_onevision": "LlavaOnevisionForConditionalGeneration",
    "kosmos2": "Kosmos2ForConditionalGeneration",
    "paligemma": "PaliGemmaForConditionalGeneration",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Words and images of a batch, as the family's processor makes them.

    ids, mask: (B, L) int64, placeholders of the images included; padding may be on either side.
    vision: pixel_values and what else the family wants of images, such as image_sizes.
    aligned: (B, L) tensors that go along the sequence, such as token_type_ids or image_embeds_position_mask.
    """

    ids: Tensor
    mask: Tensor
    vision: Mapping[str, Tensor] = field(default_factory=dict)
    aligned: Mapping[str, Tensor] = field(default_factory=dict)

    def followed_by(self, ids: Tensor) -> Prompt:
        """The prompt with words (B, N) behind it, that the model said."""
        # PaliGemma's prefix sees all of itself; what stands behind it is seen in order.
        kinds = {"token_type_ids": 1, "image_embeds_position_mask": 0}
        aligned = {
            name: torch.cat([rows, torch.full_like(ids, kinds.get(name, 0))], dim=1)
            for name, rows in self.aligned.items()
        }
        mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        return Prompt(torch.cat([self.ids, ids], dim=1), mask, self.vision, aligned)

    def in_rows_of(self, steps: int) -> Prompt:
        """(B steps, L) -> (B, steps L): the steps of each history behind each other, each seeing only the past."""

        def joined(rows: Tensor) -> Tensor:
            return rows.reshape(-1, steps * rows.shape[1])

        aligned = {name: joined(rows) for name, rows in self.aligned.items()}
        if "token_type_ids" in aligned:
            aligned["token_type_ids"] = torch.ones_like(aligned["token_type_ids"])
        return Prompt(joined(self.ids), joined(self.mask), self.vision, aligned)


def tiny_config(
    vocabulary: int, image_size: int = 64, patch: int = 8, dim: int = 64, depth: int = 2, heads: int = 4
) -> LlavaConfig:
    """A LLaVA of ViT, projector and a small decoder, for two CPU cores; its image token is the vocabulary's last id."""
    sizes = {
        "hidden_size": dim, "intermediate_size": 4 * dim, "num_hidden_layers": depth, "num_attention_heads": heads,
    }  # fmt: skip
    vision = LibraryViTConfig(**sizes, image_size=image_size, patch_size=patch)
    text = LlamaConfig(**sizes, num_key_value_heads=heads, vocab_size=vocabulary, tie_word_embeddings=True)
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=vocabulary - 1, vision_feature_layer=-1,
        image_seq_length=(image_size // patch) ** 2, tie_word_embeddings=True,
    )  # fmt: skip


class Backbone(nn.Module):
    """A vision-language model and its action token."""

    def __init__(self, family: Family, model: Any) -> None:
        super().__init__()
        wanted = CLASSES[family]
        if type(model).__name__ != wanted:
            raise ValueError(f"family '{family}' is a {wanted}; this is a {type(model).__name__}")
        self.family = family
        self.model = model
        self.action_token = nn.Parameter(torch.zeros(self.dim))

    @property
    def dim(self) -> int:
        """Numbers of a hidden state."""
        return int(self.model.config.get_text_config().hidden_size)

    def logits(self, prompt: Prompt) -> Tensor:
        """(B, L, vocabulary): the next token after each of the prompt's."""
        return self.model(**self._inputs(prompt), input_ids=prompt.ids).logits

    def features(self, prompt: Prompt) -> Tensor:
        """(B, D): the last hidden state at the action token, which stands behind everything else."""
        return self.hidden(prompt)[:, -1]

    def window_features(self, prompt: Prompt, steps: int) -> Tensor:
        """The features of a history: a prompt of B steps prompts, step by step within each -> (B, steps, 1, D)."""
        return self.features(prompt).unflatten(0, (-1, steps))[:, :, None]

    def interleaved_features(self, prompt: Prompt, steps: int) -> Tensor:
        """One pass over images and action tokens in turn: a prompt of B steps rows -> (B, steps, 1, D)."""
        embeddings = self._embeddings(prompt)  # (B steps, L + 1, D)
        embeddings = embeddings.reshape(-1, steps * embeddings.shape[1], self.dim)
        hidden = self._decode(embeddings, self._with_token(prompt).in_rows_of(steps))
        return hidden.unflatten(1, (steps, -1))[:, :, -1:]

    def hidden(self, prompt: Prompt) -> Tensor:
        """(B, L + 1, D): the last hidden states of prompt and action token."""
        return self._decode(self._embeddings(prompt), self._with_token(prompt))

    @torch.no_grad()
    def generate(self, prompt: Prompt, tokens: int, at_least: int = 1) -> Tensor:
        """(B, `at_least` to `tokens`): the likeliest token each time. Padding must be on the left."""
        inputs = {name: value for name, value in self._inputs(prompt).items() if name != "position_ids"}
        written = self.model.generate(
            input_ids=prompt.ids, do_sample=False, max_new_tokens=tokens, min_new_tokens=at_least, **inputs
        )
        return written[:, prompt.ids.shape[1] :]

    def _with_token(self, prompt: Prompt) -> Prompt:
        return prompt.followed_by(torch.zeros_like(prompt.ids[:, :1]))  # its id is never looked up

    def _embeddings(self, prompt: Prompt) -> Tensor:
        """(B, L + 1, D): words, placeholders as the library embeds them (it finds them by that), the action token."""
        words = self.model.get_input_embeddings()(self._embeddable(prompt.ids))  # (B, L, D)
        token = self.action_token.to(words.dtype).expand(len(words), 1, -1)
        return torch.cat([words, token], dim=1)

    def _decode(self, embeddings: Tensor, prompt: Prompt) -> Tensor:
        inputs = self._inputs(prompt)
        if self.family == "kosmos2":
            return self.model(inputs_embeds=embeddings, output_hidden_states=True, **inputs).hidden_states[-1]
        return self.model.model(inputs_embeds=embeddings, **inputs).last_hidden_state

    def _embeddable(self, ids: Tensor) -> Tensor:
        """Ids that have an embedding; a placeholder without one would not be found again, so it must have one."""
        count = self.model.get_input_embeddings().num_embeddings
        if int(ids.max()) >= count:
            raise ValueError(f"a prompt has the token {int(ids.max())}; the model's vocabulary ends at {count - 1}")
        return ids

    def _inputs(self, prompt: Prompt) -> dict[str, Any]:
        inputs = {"attention_mask": prompt.mask, **prompt.vision, **prompt.aligned}
        if self.family != "kosmos2":  # Kosmos-2 derives its own, from ids or in order
            first = 1 if self.family == "paligemma" else 0
            inputs["position_ids"] = (prompt.mask.cumsum(-1) - 1).clamp(min=0) + first
        return inputs


def load_backbone(family: Family, name: Path | str) -> Backbone:
    """A backbone from a local folder or by its hub name: safetensors only, and never code that comes with it."""
    folder = Path(name)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        raise ValueError(f"{folder}: has no *.safetensors; right would be a folder that save_pretrained wrote")
    model_class = getattr(transformers, CLASSES[family])
    model, report = model_class.from_pretrained(
        name, trust_remote_code=False, use_safetensors=True, output_loading_info=True
    )
    if absent := sorted(report["missing_keys"]):
        raise ValueError(f"{name}: lacks {len(absent)} weights of a {CLASSES[family]}, {absent[0]} the first")
    if wrong := sorted(report["mismatched_keys"]):
        raise ValueError(f"{name}: {len(wrong)} weights have another shape, {wrong[0]} the first")
    return Backbone(family, model)
