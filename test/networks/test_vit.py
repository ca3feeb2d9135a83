"""Our ViT against the library's on the same weights."""

from __future__ import annotations

import pytest
import torch
import transformers

from vla_ros.networks.vision import VisionTransformer, ViTConfig

CONFIG = ViTConfig(image_size=32, patch=8, dim=24, depth=3, heads=4, classes=5, norm_eps=1e-12)


def library_model() -> transformers.ViTForImageClassification:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
        num_labels=5,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
    )
    model = transformers.ViTForImageClassification(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)  # fresh biases are zero and fresh norms one: a mix-up would not show
    return model


def copied(library: transformers.ViTForImageClassification) -> VisionTransformer:
    """Our model with the library's weights, matched by their modules and not by their names, which changed."""
    ours, vit = VisionTransformer(CONFIG).eval(), library.vit
    ours.cls_token.data = vit.embeddings.cls_token.data
    ours.pos_embed.data = vit.embeddings.position_embeddings.data
    pairs = [(ours.patch_embed.proj, vit.embeddings.patch_embeddings.projection), (ours.norm, vit.layernorm)]
    pairs.append((ours.head, library.classifier))
    for block, layer in zip(ours.blocks, vit.layers, strict=True):
        attention = layer.attention
        for part in ("weight", "bias"):
            packed = [getattr(linear, part) for linear in (attention.q_proj, attention.k_proj, attention.v_proj)]
            getattr(block.attn.qkv, part).data = torch.cat(packed).data
        pairs += [(block.attn.proj, attention.o_proj), (block.mlp.fc1, layer.mlp.fc1), (block.mlp.fc2, layer.mlp.fc2)]
        pairs += [(block.norm1, layer.layernorm_before), (block.norm2, layer.layernorm_after)]
    for mine, theirs in pairs:
        mine.load_state_dict(theirs.state_dict())
    return ours


def test_logits_and_tokens_as_the_library():
    library, images = library_model(), torch.randn(2, 3, 32, 32)
    ours = copied(library)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), library(images).logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.tokens(images), library.vit(images).last_hidden_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 48), (32, 64), (24, 40)])
def test_another_size_interpolates_the_positions_as_the_library(size):
    library, images = library_model(), torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = library(images, interpolate_pos_encoding=True).logits
        torch.testing.assert_close(copied(library)(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("patch", "image", "tokens"), [(16, 224, 197), (14, 224, 257), (14, 336, 577)])
def test_the_published_token_counts(patch, image, tokens):
    with torch.device("meta"):
        model = VisionTransformer(ViTConfig(image_size=image, patch=patch, dim=8, depth=1, heads=1))
        assert model.tokens(torch.empty(1, 3, image, image)).shape == (1, tokens, 8)


def test_the_published_base_model_has_86_million_weights():
    with torch.device("meta"):
        count = sum(weight.numel() for weight in VisionTransformer(ViTConfig()).parameters())
    assert round(count / 1e6) == 86


def test_a_patch_that_does_not_divide_the_image_is_refused():
    with pytest.raises(ValueError, match="image_size must be a multiple of the patch, 8, got 30"):
        ViTConfig(image_size=30, patch=8)
