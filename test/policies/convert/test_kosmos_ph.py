"""The published RoboVLMs checkpoints: files made in their layout, read into our model, and refused where wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

from vla_ros.cli.main import main
from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.core.types import Observation
from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.networks.vla.formulations import ContinuousVLA
from vla_ros.networks.vla.policy_head import HeadConfig
from vla_ros.policies.convert.kosmos_ph import convert_kosmos_ph, load_kosmos_ph
from vla_ros.policies.loading import load_policy


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


def backbone_folder(folder: Path, model: ContinuousVLA, words: int = 40) -> Path:
    """Config and tokenizer as `save_pretrained` writes them, the latter a small one of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = ["<unk>", "<s>", "</s>", "An", "image", "of", "a", "robot", "lift", "the", "red", "block"]
    vocabulary = {word: place for place, word in enumerate([*known, *(f"w{i}" for i in range(words - len(known)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")
    folder.mkdir()
    model.backbone.model.config.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def test_a_converted_checkpoint_plans_as_the_model_it_came_from(tmp_path: Path) -> None:
    source, made = small_model(0), tmp_path / "kosmos"
    torch.save({"state_dict": published(source)}, tmp_path / "kosmos_ph.pt")
    backbone = backbone_folder(tmp_path / "backbone", source)
    arguments = ["convert", "kosmos_ph", str(tmp_path / "kosmos_ph.pt"), "--preset", "calvin", "--out", str(made)]
    assert main([*arguments, "--backbone", str(backbone)]) == 0
    policy = load_policy(made, threads=1)
    sizes = {"rgb_gripper": 84, "rgb_static": 200}
    images = {name: np.full((1, side, side, 3), 90, np.uint8) for name, side in sizes.items()}
    seen = Observation(1_000_000_000, images, np.zeros((1, 7), np.float32), "lift the red block")
    chunk = policy.infer(seen)
    assert chunk.actions.shape == (10, 7) and set(np.abs(chunk.actions[:, 6])) == {1.0}
    with torch.no_grad():
        wanted = source(policy.prompt(seen), 1).newest()
    assert np.allclose(chunk.actions[:, :6], 0.65 * wanted.pose[0].numpy(), atol=1e-6)
    assert ((chunk.actions[:, 6] == 1) == (wanted.gripper_logit[0, :, 0].numpy() > 0)).all()
    ids = policy.prompt(seen).ids[0].tolist()
    assert ids[0] == 1 and ids[9:] == [0, 4, 5, 6, 7, 8, 9, 10, 11]  # begin, two pictures of four latents, the words


def test_what_cannot_be_converted_leaves_nothing_behind(tmp_path: Path) -> None:
    source, out = small_model(0), tmp_path / "out" / "kosmos"
    torch.save({"state_dict": published(source)}, tmp_path / "kosmos_ph.pt")
    good = backbone_folder(tmp_path / "good", source)
    with pytest.raises(ModelError, match="its tokenizer has 60 words; the model's vocabulary has 48"):
        convert_kosmos_ph(
            tmp_path / "kosmos_ph.pt", backbone_folder(tmp_path / "large", source, words=60), "calvin", out
        )
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        convert_kosmos_ph(tmp_path / "kosmos_ph.pt", tmp_path, "calvin", out)
    with pytest.raises(ConfigError, match=r"--preset 'calvn'; did you mean 'calvin'\?"):
        convert_kosmos_ph(tmp_path / "kosmos_ph.pt", good, "calvn", out)
    torch.save({"state_dict": {**published(source), 7: torch.ones(1)}}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="the name of a weight is of type int; it must be text"):
        convert_kosmos_ph(tmp_path / "odd.pt", good, "calvin", out)
    assert not list(out.parent.glob("*"))
    convert_kosmos_ph(tmp_path / "kosmos_ph.pt", good, "calvin", out)
    (out / "backbone" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"backbone/config\.json is missing; manifest\.json names it"):
        load_policy(out)
    (out / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json: no such file"):
        load_policy(out)
