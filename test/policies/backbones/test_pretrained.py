"""Model folders with a library's backbone: every family plans and speaks, reads as the library reads, or is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from library_folders import FAMILIES, IMAGE, backbone_folder, images_of, tokenizer_of

from vla_ros.bench.random_vla import write_random_vla
from vla_ros.core.errors import ConfigError, MessageError, ModelError
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Observation
from vla_ros.networks.vla.backbone import Prompt
from vla_ros.policies.backbones.pretrained import LibraryBackbone
from vla_ros.policies.loading import load_policy
from vla_ros.policies.vla import HeadSizes

UNTIED = shutil.ignore_patterns("manifest.json")  # a folder to damage: the manifest would name the change first

HEADS = {"one_step": "fc", "discrete": "fc", "interleaved": "fc", "policy_head": "lstm"}
SENTENCE = "lift the red block"


def write(folder: Path, family: str, formulation: str = "policy_head", form: str = "") -> Path:
    backbone_folder(family, folder / "backbone")
    horizon = 2 if formulation == "discrete" else 4
    write_random_vla(
        load_robot("ur5e_tabletop"),
        folder,
        formulation,
        window=3,
        horizon=horizon,
        head=HeadSizes(HEADS[formulation], hidden_size=16),
        backbone=LibraryBackbone("library", family, form=form),
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("library")
    return {family: write(root / family, family) for family in FAMILIES}


def observation(now: int = 0, instruction: str = SENTENCE) -> Observation:
    rng = np.random.default_rng(now)
    images = {name: rng.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(5_000_000_000 + now * 200_000_000, images, np.full((1, 7), 0.3, np.float32), instruction)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_plans_and_speaks(models, family):
    policy = load_policy(models[family], threads=1)
    first, second = policy.infer(observation(0)).actions, policy.infer(observation(1)).actions
    assert first.shape == (4, 7) and np.isfinite(first).all() and not np.array_equal(first, second)
    assert isinstance(policy.answer(observation(), "where is the red block"), str)
    assert isinstance(policy.answer(observation(1), "what has changed", before=observation(0)), str)


@pytest.mark.parametrize("family", ("llava_onevision", "paligemma"))
@pytest.mark.parametrize("formulation", ("one_step", "discrete", "interleaved"))
def test_every_formulation(tmp_path, family, formulation):
    policy = load_policy(write(tmp_path / "model", family, formulation), threads=1)
    for now in range(3):
        actions = policy.infer(observation(now)).actions
        assert np.isfinite(actions).all() and np.abs(actions[:, :6] - 0.3).max() < 0.003


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sizes", (((64, 64),), ((64, 64), (64, 64)), ((40, 60), (90, 50))))
def test_the_network_answers_as_to_the_librarys_own_processor(models, family, sizes):
    policy = load_policy(models[family], threads=1)
    backbone, reader = policy.model.backbone, policy.speaker.reader
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    prompt = reader.prompt(frames, SENTENCE)
    with torch.no_grad():
        got = backbone.logits(prompt)  # the library raises where placeholders are too few or too many
    processor = library_processor(family)
    if processor is None:
        assert torch.isfinite(got).all()
        return
    if family == "paligemma":  # whose processor writes begin and line end itself
        text = "<image>" * len(frames) + SENTENCE
    else:
        text = reader.form.format(images="<image>\n" * len(frames), sentence=SENTENCE)
    made = processor(images=[frames], text=[text], return_tensors="pt", input_data_format="channels_last")
    assert torch.equal(made["input_ids"], prompt.ids)
    inputs = {name: value for name, value in made.items() if name != "labels"}
    with torch.no_grad():
        torch.testing.assert_close(got, backbone.model(**inputs).logits, rtol=1e-4, atol=1e-5)


def library_processor(family: str):
    """The library's processor of whole prompts; None for OneVision's, which wants torchvision."""
    tokenizer, images = tokenizer_of(family), images_of(family)
    if family == "llava_onevision":
        return None
    if family == "paligemma":
        return hf.PaliGemmaProcessor(images, tokenizer)
    made = hf.LlavaProcessor if family == "llava" else hf.LlavaNextProcessor
    strategy = {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return made(images, tokenizer, patch_size=14, **strategy)


def test_answers_are_in_the_tokenizers_words(models):
    reader = load_policy(models["paligemma"], threads=1).speaker.reader
    ids = reader.tokenizer("the red block", add_special_tokens=False)["input_ids"]
    assert reader.said([*ids, 2]) == "the red block"
    row = reader.prompt([np.zeros((64, 64, 3), np.uint8)] * 2, " lift ").ids[0].tolist()
    assert row == [IMAGE] * 8 + [1, *reader.tokenizer("lift\n", add_special_tokens=False)["input_ids"]]


def test_a_form_of_its_own(tmp_path):
    reader = load_policy(write(tmp_path / "m", "llava_next", form="[INST] {images}{sentence} [/INST]")).speaker.reader
    written = reader.tokenizer.decode(reader.prompt([np.zeros((56, 56, 3), np.uint8)], "{images}").ids[0])
    assert written.startswith("<s>[INST] <image>") and written.endswith("\n{images} [/INST]")
    for form in ("{images} only", "{images}{images}{sentence}"):
        with pytest.raises(ConfigError, match=r"backbone.form must contain .* once, got"):
            LibraryBackbone("library", "llava", form=form)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "instruction is empty"),
        ("x" * 600, "600 characters"),
        ("lift <image> now", "holds '<image>', which is no word"),
        ("stop</s>", "holds '</s>'"),
    ],
)
def test_a_sentence_that_would_be_read_otherwise(models, sentence, message):
    with pytest.raises(MessageError, match=message):
        load_policy(models["llava"], threads=1).infer(observation(instruction=sentence))


def test_words_for_numbers_lie_below_the_image(models):
    backbone = load_policy(models["llava"], threads=1).model.backbone
    described = LibraryBackbone("library", "llava")
    assert described.tokens_of(backbone).base == 630
    backbone.model.config.image_token_id = 600
    assert described.tokens_of(backbone).base == 590
    backbone.model.config.image_token_id = 375
    assert described.tokens_of(backbone).base == 365
    backbone.model.config.text_config.vocab_size = 300
    backbone.model.config.image_token_id = 200
    with pytest.raises(ConfigError, match="no room for 256 action tokens"):
        described.tokens_of(backbone)


def edited(folder: Path, **values: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | values))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def doubled_key(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace("{", '{"model_type": "llava",', 1))


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "merges.txt")


def endless_layers(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(re.sub(r'"num_hidden_layers": \d+', '"num_hidden_layers": 1000000000', config.read_text()))


def huge_number(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(re.sub(r'"hidden_size": \d+', '"hidden_size": 1' + "0" * 30, config.read_text()))


def other_family(folder: Path) -> None:
    hf.LlavaConfig().save_pretrained(folder)


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def large_tokenizer(folder: Path) -> None:
    tokenizer = tokenizer_of("paligemma")
    tokenizer.add_tokens([f"w{i}" for i in range(600)])
    tokenizer.save_pretrained(folder)


def other_tokenizer(folder: Path) -> None:
    tokenizer_of("paligemma", ("<pad>", "<s>", "</s>", "<unk>")).save_pretrained(folder)


def no_images(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def other_images(folder: Path) -> None:
    images_of("llava_next").save_pretrained(folder)


def image_beyond_the_vocabulary(folder: Path) -> None:
    edited(folder, image_token_id=640)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (no_config, ConfigError, r"backbone/config\.json: no such file; it must be paligemma's"),
        (damaged_config, ModelError, r"config\.json: cannot be read: Expecting property name"),
        (doubled_key, ModelError, r"config\.json: cannot be read: key 'model_type' is given twice"),
        (pipe, ModelError, r"merges\.txt: is no regular file"),
        (endless_layers, ModelError, r"config\.json: num_hidden_layers must be 0 to 512, got 1000000000"),
        (huge_number, ModelError, r"config\.json: .* is a number of more than 64 bits"),
        (other_family, ConfigError, "must describe paligemma, got a llava"),
        (image_beyond_the_vocabulary, ModelError, "image_token_id must be below the vocabulary of 640, got 640"),
        (no_tokenizer, ModelError, "holds no tokenizer"),
        (large_tokenizer, ModelError, "its tokenizer has 861 words; the model's vocabulary has 640"),
        (other_tokenizer, ModelError, "has no special token 4, which stands for images"),
        (no_images, ModelError, r"holds no image processor; add a processor_config\.json or"),
        (other_images, ModelError, r"makes pictures of shape \(1, 3, 3, 28, 28\); paligemma needs 4 dim"),
    ],
)
def test_a_backbone_folder_that_does_not_fit_is_refused_by_name(models, tmp_path, damage, error, message):
    folder = Path(shutil.copytree(models["paligemma"], tmp_path / "model", ignore=UNTIED))
    damage(folder / "backbone")
    with pytest.raises(error, match=message):
        load_policy(folder, threads=1)


def test_tiles_and_towers_that_the_counts_do_not_hold_for_are_refused(models, tmp_path):
    for family, values, message in (
        ("llava_hd", {"image_grid_pinpoints": [[224, 224]]}, "224 pixels on 1 canvases; llava_hd needs"),
        ("llava_next", {"vision_feature_select_strategy": "full"}, "leaves only the patches"),
        ("llava_onevision", {"image_grid_pinpoints": [[28, 28]]}, "not the same"),
    ):
        folder = Path(shutil.copytree(models[family], tmp_path / family, ignore=UNTIED))
        edited(folder / "backbone", **values)
        with pytest.raises((ConfigError, ModelError), match=message):
            load_policy(folder, threads=1)


def test_history_is_read_as_one_prompt_for_each_step(models):
    """What training reads at once is what a robot reads step by step."""
    policy = load_policy(models["llava"], threads=1)
    prompts = [policy.prompt(observation(now)) for now in range(3)]
    joined = Prompt(
        torch.cat([p.ids for p in prompts]),
        torch.cat([p.mask for p in prompts]),
        {"pixel_values": torch.cat([p.vision["pixel_values"] for p in prompts])},
        token=torch.cat([p.token for p in prompts]),
    )
    with torch.no_grad():
        at_once = policy.model(joined, 3).newest().pose[0]
        one_by_one = [policy._stream.push(prompt) for prompt in prompts][-1].pose[0]
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-5)


CANARY = """
from pathlib import Path

Path({mark!r}).touch()
from transformers import PreTrainedTokenizerFast


class Theirs(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]}}),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": "theirs.Theirs"}, "tokenizer_class": "Theirs"},
        ),
        ("config.json", {"auto_map": {"AutoConfig": "theirs.Theirs"}}),
        ("config.json", {"auto_map": {"AutoConfig": "theirs.Theirs"}, "model_type": "theirs"}),
        ("config.json", {"text_config": {"auto_map": {"AutoConfig": "somebody/else--theirs.Theirs"}}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "theirs.Theirs"}}),
    ],
)
def test_code_that_comes_with_a_backbone_is_refused_by_name_and_never_run(models, tmp_path, file, entry):
    mark = tmp_path / "mark"
    folder = Path(shutil.copytree(models["paligemma"], tmp_path / "model", ignore=UNTIED))
    (folder / "backbone/theirs.py").write_text(CANARY.format(mark=str(mark)))
    path = folder / "backbone" / file
    content = json.loads(path.read_text())
    for key, value in entry.items():
        content[key] = {**content[key], **value} if key == "text_config" else value
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"{file}: auto_map names code that comes with the model, which is never run"):
        load_policy(folder, threads=1)
    assert not mark.exists()
    assert "theirs" not in sys.modules


def test_code_that_nothing_names_is_not_run_either(models, tmp_path):
    mark = tmp_path / "mark"
    folder = Path(shutil.copytree(models["paligemma"], tmp_path / "model", ignore=UNTIED))
    for name in ("theirs.py", "tokenization_paligemma.py", "__init__.py"):
        (folder / "backbone" / name).write_text(CANARY.format(mark=str(mark)))
    load_policy(folder, threads=1)
    assert not mark.exists()


@pytest.mark.parametrize("named", ["../other", "/etc", "backbone/../../other", "link"])
def test_a_backbone_outside_of_the_model_folder_is_refused(models, tmp_path, named):
    folder = Path(shutil.copytree(models["paligemma"], tmp_path / "model", ignore=UNTIED))
    shutil.copytree(folder / "backbone", tmp_path / "other")
    (folder / "link").symlink_to(tmp_path / "other")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("folder: backbone", f"folder: {named}"))
    with pytest.raises(
        ModelError, match=rf"config\.yaml: backbone\.folder must lie in the model folder, got '{named}'"
    ):
        load_policy(folder, threads=1)
