"""Visual token counts: the published vectors, and what the library's own packing yields for any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextModel,
    LlavaOnevisionConfig,
    LlavaOnevisionModel,
    Qwen2Config,
    SiglipVisionConfig,
)

from vla_ros.networks.vla.any_resolution import (
    HD,
    NEXT,
    ONEVISION,
    best_canvas,
    hd_config,
    image_tokens,
    several_image_tokens,
    token_grid,
    video_tokens,
)

SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
TEXT = {**SMALL, "num_key_value_heads": 1, "vocab_size": 32}
sizes = st.tuples(st.integers(40, 2500), st.integers(40, 2500))


# (width, height), canvas (height, width), tokens (rows, columns), all tokens
@pytest.mark.parametrize(
    ("size", "canvas", "grid", "tokens"),
    [
        ((336, 336), (336, 672), (24, 24), 1176),
        ((640, 480), (672, 672), (36, 48), 2340),
        ((1000, 600), (672, 672), (28, 48), 1948),
        ((1920, 1080), (672, 672), (28, 48), 1948),
        ((400, 1200), (1008, 336), (72, 24), 2376),
        ((2000, 400), (336, 1008), (14, 72), 1598),
        ((672, 672), (672, 672), (48, 48), 2928),
    ],
)
def test_llava_next(size, canvas, grid, tokens):
    size = size[::-1]
    assert best_canvas(size, NEXT.canvases) == canvas
    assert token_grid(size, NEXT) == grid
    assert image_tokens(size, NEXT) == tokens


@pytest.mark.parametrize(
    ("size", "canvas", "grid", "tokens"),
    [
        ((384, 384), (384, 384), (27, 27), 1485),
        ((640, 480), (768, 768), (40, 54), 2929),
        ((1000, 600), (768, 1152), (48, 81), 4665),
        ((1920, 1080), (1152, 1920), (60, 108), 7269),
        ((2304, 2304), (2304, 2304), (81, 81), 7371),
    ],
)
def test_llava_onevision(size, canvas, grid, tokens):
    size = size[::-1]
    assert best_canvas(size, ONEVISION.canvases) == canvas
    assert token_grid(size, ONEVISION) == grid
    assert image_tokens(size, ONEVISION) == tokens


def test_several_images_and_a_video_of_onevision():
    assert several_image_tokens(1, ONEVISION) == 730
    assert video_tokens(32, ONEVISION) == 6272 + 1


@pytest.mark.parametrize(("side", "grid"), [(224, (16, 16)), (448, (32, 32))])
def test_llava_hd_splits_448_pixels_in_two_by_two(side, grid):
    assert best_canvas((side, side), HD.canvases) == (side, side)
    assert image_tokens((side, side), HD) == 256 + grid[0] * (grid[1] + 1)


def next_model() -> LlavaNextModel:
    vision = CLIPVisionConfig(**SMALL, image_size=336, patch_size=14)
    return LlavaNextModel(LlavaNextConfig(vision_config=vision, text_config=LlamaConfig(**TEXT)))


def hd_model() -> LlavaNextModel:
    return LlavaNextModel(hd_config(LlamaConfig(**TEXT), CLIPVisionConfig(**SMALL, image_size=224, patch_size=14)))


def onevision_model() -> LlavaOnevisionModel:
    vision = SiglipVisionConfig(**SMALL, image_size=384, patch_size=14, vision_use_head=False)
    return LlavaOnevisionModel(LlavaOnevisionConfig(vision_config=vision, text_config=Qwen2Config(**TEXT)))


@pytest.mark.parametrize(("make", "layout"), [(next_model, NEXT), (hd_model, HD), (onevision_model, ONEVISION)])
def test_the_count_is_what_the_library_packs(make, layout):
    model = make()
    how = ("default",) if isinstance(model, LlavaNextModel) else ()

    @settings(max_examples=25)
    @given(size=sizes)
    def check(size):
        canvas = best_canvas(size, layout.canvases)
        views = 1 + canvas[0] * canvas[1] // layout.tile**2
        features = torch.zeros(views, layout.side**2, 8)
        packed, _ = model.pack_image_features([features], [size], *how, image_newline=model.image_newline)
        assert len(packed[0]) == image_tokens(size, layout)

    with torch.no_grad():
        check()


def test_another_tile_is_not_hd():
    with pytest.raises(ValueError, match=r"image_size must be 224 for LLaVA-1.5-HD, got 336"):
        hd_config(LlamaConfig(**TEXT), CLIPVisionConfig(**SMALL, image_size=336, patch_size=14))
