"""The published RoboVLMs checkpoints: files made in their layout, read into our model, and refused where wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf

from vla_ros.core.errors import ModelError
from vla_ros.networks.policy_head import HeadConfig
from vla_ros.networks.vla import ContinuousVLA
from vla_ros.networks.vlm import Backbone, Prompt
from vla_ros.policies.official_vla import load_kosmos_ph


def small_model(seed: int) -> ContinuousVLA:
    torch.manual_seed(seed)
    text = {"embed_dim": 16, "layers": 1, "ffn_dim": 32, "attention_heads": 2, "vocab_size": 48}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    config = hf.Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=4)
    backbone = Backbone("kosmos2", hf.Kosmos2ForConditionalGeneration(config))
    torch.nn.init.normal_(backbone.action_token)
    return ContinuousVLA(backbone, HeadConfig(16, 7, 10, 4, hidden_size=16, num_layers=2)).eval()


def published(model: ContinuousVLA) -> dict[str, torch.Tensor]:
    """The names of facts/systems.md, section 6.5, with what the older library saved beside."""
    renamed = {}
    for name, value in model.state_dict().items():
        head, _, rest = name.partition(".")
        theirs = f"backbone.{rest.removeprefix('model.')}" if rest.startswith("model.") else rest
        renamed["model." + (theirs if head == "backbone" else name)] = value
    renamed["model.backbone.vision_model.model.embeddings.position_ids"] = torch.arange(5)[None]
    renamed["model.backbone.text_model.model.embed_positions.weights"] = torch.zeros(8, 16)
    return renamed


@pytest.mark.parametrize("holder", ("state_dict", "model_state_dict"))
@pytest.mark.parametrize("wrapped", ("", "module."))
@pytest.mark.parametrize("tied", (True, False))
def test_a_file_in_the_published_layout_answers_as_the_model_it_came_from(
    tmp_path: Path, holder, wrapped, tied
) -> None:
    source, target = small_model(0), small_model(1)
    weights = published(source)
    if not tied:
        del weights["model.backbone.text_model.lm_head.weight"]
    torch.save({holder: {wrapped + name: w for name, w in weights.items()}, "epoch": 4}, tmp_path / "kosmos_ph.pt")
    load_kosmos_ph(target, tmp_path / "kosmos_ph.pt")
    ids = torch.randint(3, 40, (2, 8))
    places = torch.zeros_like(ids)
    places[:, 1:5] = 1
    pixels = {"pixel_values": torch.randn(2, 3, 28, 28)}
    prompt = Prompt(ids, torch.ones_like(ids), pixels, {"image_embeds_position_mask": places})
    with torch.no_grad():
        assert torch.equal(target(prompt, 2).pose, source(prompt, 2).pose)


def test_files_that_are_no_such_checkpoint_are_refused_by_name(tmp_path: Path) -> None:
    model, path = small_model(0), tmp_path / "kosmos_ph.pt"
    weights = published(model)
    lacking = {name: value for name, value in weights.items() if name != "model.action_token"}
    for content, named in (
        ({"weights": weights}, "holds no state_dict"),
        ({"state_dict": lacking}, "action_token"),
        ({"state_dict": {**weights, "model.act_head.more": torch.zeros(1)}}, "act_head.more"),
        ({"state_dict": {**weights, "model.action_token": torch.zeros(3)}}, "has shape"),
        ({"state_dict": {**weights, "model.action_token": torch.full((16,), torch.nan)}}, "not finite"),
        ({"state_dict": {**weights, "hook": pytest.raises}}, "refused"),
    ):
        torch.save(content, path)
        with pytest.raises(ModelError, match=named):
            load_kosmos_ph(model, path)
