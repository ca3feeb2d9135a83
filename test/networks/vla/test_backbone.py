"""Every family at a tiny random size: our path with the action token against the library's own class."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from vla_ros.networks.vla.any_resolution import (
    HD,
    TileLayout,
    grids,
    hd_config,
    image_tokens,
    several_image_tokens,
    video_tokens,
)
from vla_ros.networks.vla.backbone import Backbone, Prompt, load_backbone, tiny_config

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "num_key_value_heads": 2, "vocab_size": 48, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = 47  # the placeholder's id
PINPOINTS = TileLayout(28, 14, grids(28, (1, 2), (2, 1), (2, 2)))


def clip(side: int = 28) -> hf.CLIPVisionConfig:
    return hf.CLIPVisionConfig(**SIZES, image_size=side, patch_size=14)


def words(tokens: int, rows: int = 2, image: int | None = IMAGE) -> torch.Tensor:
    """Each row: a word, `tokens` placeholders, four words."""
    text = torch.randint(3, IMAGE, (rows, 5))
    places = torch.full((rows, tokens), 3 if image is None else image)
    return torch.cat([text[:, :1], places, text[:, 1:]], dim=1)


def prompt_of(ids: torch.Tensor, vision: dict, **aligned: torch.Tensor) -> Prompt:
    return Prompt(ids, torch.ones_like(ids), vision, aligned)


def tiny() -> tuple[Backbone, Prompt]:
    config = tiny_config(48, image_size=16, patch=8, dim=16, depth=2, heads=2)
    backbone = Backbone("tiny", hf.LlavaForConditionalGeneration(config))
    # Without its class token a ViT of 16x16 in patches of 8 gives four tokens.
    return backbone, prompt_of(words(4), {"pixel_values": torch.randn(2, 3, 16, 16)})


def llava() -> tuple[Backbone, Prompt]:
    config = hf.LlavaConfig(vision_config=clip(), text_config=hf.LlamaConfig(**TEXT), image_token_id=IMAGE)
    pixels = {"pixel_values": torch.randn(2, 3, 28, 28)}
    return Backbone("llava", hf.LlavaForConditionalGeneration(config)), prompt_of(words(4), pixels)


def llava_next() -> tuple[Backbone, Prompt]:
    config = hf.LlavaNextConfig(
        vision_config=clip(),
        text_config=hf.LlamaConfig(**TEXT),
        image_token_id=IMAGE,
        image_grid_pinpoints=[list(canvas) for canvas in PINPOINTS.canvases],
    )
    size = (40, 60)  # fitted to two by two tiles
    vision = {"pixel_values": torch.randn(2, 5, 3, 28, 28), "image_sizes": torch.tensor([size, size])}
    model = hf.LlavaNextForConditionalGeneration(config)
    return Backbone("llava_next", model), prompt_of(words(image_tokens(size, PINPOINTS)), vision)


def llava_hd() -> tuple[Backbone, Prompt]:
    config = hd_config(hf.LlamaConfig(**TEXT), clip(224), image_token_id=IMAGE)
    size = (448, 448)
    vision = {"pixel_values": torch.randn(1, 5, 3, 224, 224), "image_sizes": torch.tensor([size])}
    model = hf.LlavaNextForConditionalGeneration(config)
    return Backbone("llava_hd", model), prompt_of(words(image_tokens(size, HD), rows=1), vision)


def llava_onevision() -> tuple[Backbone, Prompt]:
    layout = TileLayout(28, 14, PINPOINTS.canvases, most_tiles=9)
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**SIZES, image_size=28, patch_size=14, vision_use_head=False),
        text_config=hf.Qwen2Config(**TEXT),
        image_token_id=IMAGE,
        video_token_id=46,
        image_grid_pinpoints=[list(canvas) for canvas in layout.canvases],
    )
    size = (40, 60)
    vision = {"pixel_values": torch.randn(2, 5, 3, 28, 28), "image_sizes": torch.tensor([size, size])}
    model = hf.LlavaOnevisionForConditionalGeneration(config)
    ids = words(image_tokens(size, layout))
    return Backbone("llava_onevision", model), prompt_of(ids.where(ids != 46, 3), vision)


def kosmos2() -> tuple[Backbone, Prompt]:
    text = {"embed_dim": 16, "layers": 2, "ffn_dim": 32, "attention_heads": 2, "vocab_size": 48}
    vision = {**SIZES, "image_size": 28, "patch_size": 14}
    config = hf.Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=4)
    ids = words(4, image=None)
    places = torch.zeros_like(ids)
    places[:, 1:5] = 1
    pixels = {"pixel_values": torch.randn(2, 3, 28, 28)}
    model = hf.Kosmos2ForConditionalGeneration(config)
    return Backbone("kosmos2", model), prompt_of(ids, pixels, image_embeds_position_mask=places)


def paligemma() -> tuple[Backbone, Prompt]:
    vision = hf.SiglipVisionConfig(**SIZES, image_size=28, patch_size=14, vision_use_head=False, projection_dim=16)
    config = hf.PaliGemmaConfig(
        vision_config=vision, text_config=hf.GemmaConfig(**TEXT, head_dim=8), image_token_id=IMAGE, projection_dim=16
    )
    ids = words(4)
    pixels = {"pixel_values": torch.randn(2, 3, 28, 28)}
    model = hf.PaliGemmaForConditionalGeneration(config)
    return Backbone("paligemma", model), prompt_of(ids, pixels, token_type_ids=torch.zeros_like(ids))


FAMILIES = (tiny, llava, llava_next, llava_hd, llava_onevision, kosmos2, paligemma)


def made(make) -> tuple[Backbone, Prompt]:
    torch.manual_seed(0)
    backbone, prompt = make()
    backbone.eval()
    torch.nn.init.normal_(backbone.action_token)
    return backbone, prompt


def own_logits(backbone: Backbone, prompt: Prompt) -> torch.Tensor:
    """What the library's class answers to what its processor would give it, by ids, without anything of ours."""
    inputs = {"input_ids": prompt.ids, "attention_mask": prompt.mask, **prompt.vision, **prompt.aligned}
    return backbone.model(**inputs).logits


@pytest.mark.parametrize("make", FAMILIES)
def test_logits_are_the_librarys_also_with_an_action_token_behind(make):
    backbone, prompt = made(make)
    with torch.no_grad():
        expected = own_logits(backbone, prompt)
        torch.testing.assert_close(backbone.logits(prompt), expected, rtol=1e-4, atol=1e-5)
        hidden = backbone.hidden(prompt)
        behind = backbone.model.get_output_embeddings()(hidden[:, :-1])
    assert hidden.shape == (*prompt.ids.shape[:1], prompt.ids.shape[1] + 1, backbone.dim)
    torch.testing.assert_close(behind, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", FAMILIES)
def test_the_features_follow_image_words_and_action_token(make):
    backbone, prompt = made(make)
    pixels = {**prompt.vision, "pixel_values": prompt.vision["pixel_values"] + torch.randn(1)}
    other = prompt.ids.clone()
    other[:, -1] = (other[:, -1] + 1).clamp(max=45) - 2 * (other[:, -1] >= 45).long()
    with torch.no_grad():
        before = backbone.features(prompt)
        assert before.shape == (len(prompt.ids), backbone.dim)
        assert not torch.allclose(before, backbone.features(Prompt(prompt.ids, prompt.mask, pixels, prompt.aligned)))
        assert not torch.allclose(before, backbone.features(Prompt(other, prompt.mask, prompt.vision, prompt.aligned)))
    backbone.features(prompt).sum().backward()
    assert backbone.action_token.grad.abs().sum() > 0


@pytest.mark.parametrize("make", FAMILIES)
def test_text_is_the_librarys_greedy_continuation(make):
    backbone, prompt = made(make)
    with torch.no_grad():
        first = own_logits(backbone, prompt)[:, -1].argmax(-1)
    written = backbone.generate(prompt, 3)
    assert written.shape[0] == len(prompt.ids) and 1 <= written.shape[1] <= 3
    assert torch.equal(written[:, 0], first)


@pytest.mark.parametrize("what", ("images", "video"))
def test_onevision_reads_several_images_and_video_as_the_library(what):
    backbone, _ = made(llava_onevision)
    if what == "images":
        vision = {"pixel_values": torch.randn(3, 1, 3, 28, 28), "image_sizes": torch.tensor([[28, 28]] * 3)}
        vision["batch_num_images"] = torch.tensor([3])
        ids = words(several_image_tokens(3, PINPOINTS), rows=1)
    else:
        vision = {"pixel_values_videos": torch.randn(1, 5, 3, 28, 28)}
        ids = words(video_tokens(5, PINPOINTS), rows=1, image=46)
    ids[:, -4:] = torch.arange(5, 9)
    prompt = prompt_of(ids, vision)
    with torch.no_grad():
        expected = own_logits(backbone, prompt)
        behind = backbone.model.get_output_embeddings()(backbone.hidden(prompt)[:, :-1])
    torch.testing.assert_close(behind, expected, rtol=1e-4, atol=1e-5)


def test_padding_on_the_left_changes_no_feature():
    backbone, prompt = made(llava)
    pad = torch.zeros(2, 3, dtype=torch.long)
    padded = Prompt(torch.cat([pad, prompt.ids], 1), torch.cat([pad, prompt.mask], 1), prompt.vision)
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(padded), backbone.features(prompt), rtol=1e-4, atol=1e-5)


def test_a_folder_is_read_back_and_a_wrong_or_incomplete_one_refused(tmp_path):
    backbone, prompt = made(tiny)
    backbone.model.save_pretrained(tmp_path / "whole")
    again = load_backbone("tiny", tmp_path / "whole").eval()
    with torch.no_grad():
        assert torch.equal(again.logits(prompt), backbone.logits(prompt))
    weights = backbone.model.state_dict()
    weights.pop("model.multi_modal_projector.linear_1.weight")
    backbone.model.save_pretrained(tmp_path / "part", state_dict=weights)
    with pytest.raises(ValueError, match=r"lacks 1 weights .*linear_1"):
        load_backbone("tiny", tmp_path / "part")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no \*.safetensors"):
        load_backbone("tiny", tmp_path / "empty")
    with pytest.raises(ValueError, match="family 'kosmos2'"):
        Backbone("kosmos2", backbone.model)
