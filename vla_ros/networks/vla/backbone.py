"""Vision-language models as backbones of a policy: one interface over the classes of `transformers`.

A backbone reads images and words and gives the last hidden state at a learnable action token behind them (RoboVLMs,
arXiv 2412.14058), or writes text. How images enter the sequence stays the library's own code: a prompt holds a
placeholder for every visual token (`any_resolution` counts them), and the tensors that the family's processor makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import LlamaConfig, LlavaConfig
from transformers import ViTConfig as LibraryViTConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vla_ros.networks.vision import KeypointResNet

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
    token: (B, D) that is added to the action token: what else the model is told, such as where its joints are.
    """

    ids: Tensor
    mask: Tensor
    vision: Mapping[str, Tensor] = field(default_factory=dict)
    aligned: Mapping[str, Tensor] = field(default_factory=dict)
    token: Tensor | None = None

    def followed_by(self, ids: Tensor) -> Prompt:
        """The prompt with words (B, N) behind it, that the model said."""
        # PaliGemma's prefix sees all of itself; what stands behind it is seen in order.
        kinds = {"token_type_ids": 1, "image_embeds_position_mask": 0}
        aligned = {
            name: torch.cat([rows, torch.full_like(ids, kinds.get(name, 0))], dim=1)
            for name, rows in self.aligned.items()
        }
        mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        return Prompt(torch.cat([self.ids, ids], dim=1), mask, self.vision, aligned, self.token)

    def to(self, device: torch.device) -> Prompt:
        """The same on another device."""
        vision, aligned = ({n: x.to(device) for n, x in part.items()} for part in (self.vision, self.aligned))
        token = None if self.token is None else self.token.to(device)
        return Prompt(self.ids.to(device), self.mask.to(device), vision, aligned, token)

    def in_rows_of(self, steps: int) -> Prompt:
        """(B steps, L) -> (B, steps L): the steps of each history behind each other, each seeing only the past."""

        def joined(rows: Tensor) -> Tensor:
            return rows.reshape(-1, steps * rows.shape[1])

        aligned = {name: joined(rows) for name, rows in self.aligned.items()}
        if "token_type_ids" in aligned:
            aligned["token_type_ids"] = torch.ones_like(aligned["token_type_ids"])
        return Prompt(joined(self.ids), joined(self.mask), self.vision, aligned, self.token)


def tiny_config(
    vocabulary: int,
    image_size: int = 64,
    patch: int = 8,
    dim: int = 64,
    depth: int = 2,
    heads: int = 4,
    mlp_ratio: int = 4,
    features: int = 0,
) -> LlavaConfig:
    """A LLaVA of ViT, projector and a small decoder, for two CPU cores; its image token is the vocabulary's last id.

    features: of a picture's tokens before the projector, where they are not `dim`.
    """
    sizes = {
        "hidden_size": dim,
        "intermediate_size": mlp_ratio * dim,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
    }
    seen = {"hidden_size": features, "num_hidden_layers": 1} if features else {}  # another tower takes its place
    vision = LibraryViTConfig(**sizes | seen, image_size=image_size, patch_size=patch)
    text = LlamaConfig(**sizes, num_key_value_heads=heads, vocab_size=vocabulary, tie_word_embeddings=True)
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=vocabulary - 1,
        vision_feature_layer=-1,
        image_seq_length=(image_size // patch) ** 2,
        tie_word_embeddings=True,
    )


class EarlyConvolutions(nn.Conv2d):
    """Patches by a few small convolutions instead of one large one: a ViT then learns to see from far fewer pictures
    (Xiao et al., arXiv 2106.14881). They halve the plane until a patch is a place; the last, of 1x1, is this module.
    """

    def __init__(self, patch: int, dim: int, first: int = 32) -> None:
        halvings = patch.bit_length() - 1  # the patch is a power of two
        widths = [min(dim, first * (step + 1)) for step in range(halvings)]
        super().__init__(widths[-1], dim, 1)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, 2, 2), nn.ReLU()]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.ReLU()]
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
        self.stem = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dim, H / patch, W / patch)."""
        return super().forward(self.stem(images))


class KeypointTower(nn.Module):
    """In the place of a LLaVA's ViT: a keypoint network for each camera, whose features are one token of its picture.

    Pictures come camera after camera: (B views, 3, H, W).
    """

    def __init__(self, views: int, widths: tuple[int, int, int], features: int) -> None:
        super().__init__()
        self.views = views
        self.img_encoder = nn.ModuleList(KeypointResNet(widths, features) for _ in range(views))

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """(B views, 3, H, W) in [-1, 1] -> hidden states as of a ViT: (B views, 2, features), the first to be left."""
        pictures = (pixel_values.unflatten(0, (-1, self.views)) + 1) / 2
        seen = torch.stack([encoder(pictures[:, view]) for view, encoder in enumerate(self.img_encoder)], dim=1)
        tokens = seen.flatten(0, 1)[:, None].expand(-1, 2, -1)
        return BaseModelOutputWithPooling(hidden_states=(tokens,))


def tiny_model(
    config: LlavaConfig, early: bool = False, tower: KeypointTower | None = None
) -> transformers.LlavaForConditionalGeneration:
    """The library's model with random weights; with `early` convolutions for its ViT, or another tower in its place."""
    model = transformers.LlavaForConditionalGeneration(config)
    if tower is not None:
        model.model.vision_tower = tower
    elif early:
        vision = config.vision_config
        patches = model.model.vision_tower.embeddings.patch_embeddings
        patches.projection = EarlyConvolutions(vision.patch_size, vision.hidden_size)
    return model


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
        if prompt.token is not None:
            token = token + prompt.token[:, None]
        return torch.cat([words, token], dim=1)

    def see(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, tokens, D): images as the decoder of a LLaVA gets them."""
        return torch.stack(list(self.model.model.get_image_features(pixel_values).pooler_output))

    def look(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, tokens, F): what the tower of a LLaVA sees, before the projector."""
        return self.model.model.vision_tower(pixel_values, output_hidden_states=True).hidden_states[-1][:, 1:]

    def project(self, seen: Tensor) -> Tensor:
        """(N, tokens, F) from `look` -> (N, tokens, D) as from `see`."""
        return self.model.model.multi_modal_projector(seen)

    def embed(self, ids: Tensor) -> Tensor:
        """(...) -> (..., D): words as the decoder gets them."""
        return self.model.get_input_embeddings()(ids)

    def decode_apart(self, images: Tensor, branches: Tensor, mask: Tensor) -> Tensor:
        """Many continuations of the same images, which are read only once: -> (B, K, L, D), last hidden states.

        images (B, P, D) from `see`, branches (B, K, L, D): words and action tokens of K continuations, each of which
        sees the images and itself but no other; mask (B, K, L): false where a place is padding. For the LLaVA family,
        whose images stand before all words, and so do not depend on them.
        """
        (rows, seen), (_, count, length) = images.shape[:2], mask.shape
        behind, device = count * length, images.device
        branch = torch.arange(behind, device=device) // length  # of each place behind the images
        own = (branch[:, None] == branch) & torch.ones(behind, behind, device=device).tril().bool()
        allowed = torch.zeros(rows, 1, seen + behind, seen + behind, dtype=torch.bool, device=device)
        allowed[..., :seen, :seen] = torch.ones(seen, seen, device=device).tril().bool()
        allowed[..., seen:, :seen] = True
        # A padded place sees itself, so that its softmax is of something; nobody sees it.
        itself = torch.eye(behind, dtype=torch.bool, device=device)
        allowed[:, 0, seen:, seen:] = own & mask.flatten(1)[:, None] | itself
        places = torch.arange(seen, device=device).expand(rows, -1)
        after = seen + (mask.long().cumsum(-1) - 1).clamp(min=0)
        hidden = self.model.model.language_model(
            inputs_embeds=torch.cat([images, branches.flatten(1, 2)], dim=1),
            attention_mask=allowed,
            position_ids=torch.cat([places, after.flatten(1)], dim=1),
            use_cache=False,
        ).last_hidden_state
        return hidden[:, seen:].unflatten(1, (count, length))

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
        raise ValueError(f"{folder}: has no *.safetensors; name a folder that save_pretrained wrote")
    model_class = getattr(transformers, CLASSES[family])
    model, report = model_class.from_pretrained(
        name, trust_remote_code=False, use_safetensors=True, output_loading_info=True
    )
    if absent := sorted(report["missing_keys"]):
        raise ValueError(f"{name}: lacks {len(absent)} weights of a {CLASSES[family]}, {absent[0]} the first")
    if wrong := sorted(report["mismatched_keys"]):
        raise ValueError(f"{name}: {len(wrong)} weights have another shape, {wrong[0]} the first")
    return Backbone(family, model)
