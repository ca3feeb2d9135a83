"""Fine-tuning of pretrained vision-language models: by LoRA and as a whole, into model folders that need no peft."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from library_folders import backbone_folder
from safetensors.torch import load_file

from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import share_folder
from vla_ros.policies.loading import load_policy
from vla_ros.policies.vla import HeadSizes
from vla_ros.training.config import LoopConfig
from vla_ros.training.data import load_data
from vla_ros.training.pretrained.batches import LibraryBatches, unflat
from vla_ros.training.pretrained.config import LoRA, Pretrained, VLALibraryTraining
from vla_ros.training.pretrained.lora import merge
from vla_ros.training.pretrained.train import described, load_pretrained, module_of
from vla_ros.training.run import train
from vla_ros.training.vla.batches import quantile_statistics

SMALL = LoRA(rank=4, alpha=8, dropout=0.0)
FAMILIES = ("paligemma", "llava_onevision")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pretrained")
    return {family: backbone_folder(family, root / family, weights=True) for family in ("llava", *FAMILIES)}


def training(data: Path, pretrained: Path, folder: Path, **choices: Any) -> VLALibraryTraining:
    """Of a folder that bears its family's name."""
    loop = {"steps": 3, "batch": 6, "learning_rate": 1e-2, "warmup": 1, "threads": 1, "validate_every": 99}
    loop |= choices.pop("loop", {})
    return VLALibraryTraining(
        "vla_library",
        data,
        folder / "model",
        Pretrained(pretrained.name, pretrained),
        LoopConfig(folder / "run", **loop),
        **{
            "head": HeadSizes(hidden_size=16),
            "lora": SMALL,
            "window": 3,
            "horizon": 4,
            "validation_share": 0.3,
            **choices,
        },
    )


def run(config: VLALibraryTraining, resume: bool = False) -> dict[str, float]:
    """As `vla-ros train`."""
    config.loop.run.mkdir(parents=True, exist_ok=True)
    path = config.loop.run / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(config)))
    return train(path, resume)


def prepared(config: VLALibraryTraining) -> tuple[Any, LibraryBatches]:
    """Module and batches as the training makes them."""
    torch.manual_seed(config.loop.seed)
    data = load_data(config, config.horizon)
    backbone = load_pretrained(config.pretrained)
    reader = described(config.pretrained).reader(Path(), backbone)
    statistics = quantile_statistics(data)
    return module_of(config, data, backbone), LibraryBatches(config, data, statistics, reader)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_become_part_of_an_ordinary_model_folder(
    short_demonstrations, folders, tmp_path, family, observation
) -> None:
    config = training(short_demonstrations, folders[family], tmp_path)
    figures = run(config)
    assert figures["steps"] == 3 and all(np.isfinite(value) for value in figures.values())
    policy = load_policy(config.out, threads=1)
    assert np.isfinite(policy.infer(observation).actions).all() and isinstance(policy.answer(observation, "why"), str)
    assert policy.infer(observation).actions.shape == (4, 7) and policy.folder.window == 3

    before, after = load_pretrained(config.pretrained).state_dict(), policy.model.backbone.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    wanted = {name for name in before if adapted(name)}
    assert wanted and changed == wanted | {"action_token"}


def adapted(name: str) -> bool:
    """Whether a weight of a backbone is of a layer that `SMALL` adapts."""
    return "language_model" in name and name.endswith(tuple(f".{target}.weight" for target in SMALL.targets))


def test_the_merged_folder_plans_as_the_module_with_its_adapters(short_demonstrations, folders, tmp_path) -> None:
    config = training(short_demonstrations, folders["paligemma"], tmp_path)
    run(config)
    module, batches = prepared(config)
    saved = torch.load(config.loop.run / "checkpoint.pt", weights_only=True)["averaged"]
    weights = {name.removeprefix("module."): value for name, value in saved.items() if name != "n_averaged"}
    assert module.load_state_dict(weights, strict=False).unexpected_keys == []
    assert any("lora_A" in name for name in weights)
    batch = batches.draw(np.random.default_rng(0))
    prompt = unflat(batch["ids"], batch["mask"], batch)
    policy = load_policy(config.out, threads=1)
    with torch.no_grad():
        apart = module.eval().act(module.vla, prompt, batch["state"])
        whole = module.act(policy.model, prompt, batch["state"])
    torch.testing.assert_close(apart.pose, whole.pose, rtol=0, atol=1e-4)
    torch.testing.assert_close(apart.gripper_logit, whole.gripper_logit, rtol=0, atol=1e-4)


def test_merging_leaves_the_librarys_own_layers(short_demonstrations, folders, tmp_path) -> None:
    config = training(short_demonstrations, folders["llava"], tmp_path)
    module, batches = prepared(config)
    for name, weights in module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.3)
    batch = batches.draw(np.random.default_rng(0))
    with torch.no_grad():
        before = module.eval()(**batch)
        merge(module)
        after = module(**batch)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    names = load_pretrained(config.pretrained).state_dict().keys()
    assert module.vla.backbone.state_dict().keys() == names


@pytest.mark.parametrize("family", ("llava", *FAMILIES))
def test_what_is_trained_on_is_what_the_policy_reads(short_demonstrations, folders, tmp_path, family) -> None:
    """Rows are padded, stacked and read in training mode; each plan is that of the policy, which reads one by one."""
    config = training(short_demonstrations, folders[family], tmp_path, loop={"batch": 9})
    run(config)
    _, batches = prepared(config)
    policy = load_policy(config.out, threads=1)
    index = np.array([[0, 2, 4], [10, 12, 14]])
    sentences = ["lift the red block", "push the blue block to the left"]
    batch = batches.prompts(index, sentences)
    state = torch.from_numpy(policy.statistics.normalise_state(batches.data.state[index]))
    prompt = unflat(batch.pop("ids"), batch.pop("mask"), batch)
    assert prompt.mask[0, 0] == 0 and prompt.mask[3:].all()  # the shorter sentence is padded, on the left
    policy.model.train()
    with torch.no_grad():
        told = policy.model.told(prompt, state.flatten(0, 1))
        pose = policy.model(told, 3).pose
    policy.model.eval()
    for row, (frames, sentence) in enumerate(zip(index, sentences, strict=True)):
        policy.reset()
        for step, frame in enumerate(frames):
            seen = [images[frame] for images in batches.data.images.values()]
            one = policy.model.told(policy.speaker.reader.prompt(seen, sentence), state[row, step][None])
            got = policy._stream.push(one).pose[0]
            torch.testing.assert_close(got, pose[row, step], rtol=1e-3, atol=1e-4)


def test_a_run_goes_on_where_it_ended(short_demonstrations, folders, tmp_path) -> None:
    config = training(short_demonstrations, folders["paligemma"], tmp_path)
    run(config)
    saved = torch.load(config.loop.run / "checkpoint.pt", weights_only=True)
    learning = {name for name, weights in prepared(config)[0].named_parameters() if weights.requires_grad}
    assert saved["module"].keys() == learning  # the others are the pretrained folder's
    longer = replace(config, loop=replace(config.loop, steps=5))
    first = load_file(config.out / "model.safetensors")
    assert run(longer, resume=True)["steps"] == 5
    second = load_file(config.out / "model.safetensors")
    name = "backbone.model.model.language_model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(first[name], second[name])
    for name, weights in load_pretrained(config.pretrained).state_dict().items():
        assert adapted(name) or name == "action_token" or torch.equal(second[f"backbone.{name}"], weights)
    other = replace(longer, lora=replace(SMALL, targets=("q_proj",)))
    with pytest.raises(ConfigError, match="checkpoint is of another network"):
        run(other, resume=True)


@pytest.mark.parametrize("formulation", ("policy_head", "discrete"))
def test_half_precision(short_demonstrations, folders, tmp_path, formulation, observation) -> None:
    """Also the LSTM, which has no half precision on every CPU; the weights stay whole."""
    shape = {"window": 1, "horizon": 2} if formulation == "discrete" else {}
    config = training(
        short_demonstrations,
        folders["llava_onevision"],
        tmp_path,
        loop={"precision": "bf16"},
        checkpointing=True,
        formulation=formulation,
        head=HeadSizes("fc" if shape else "lstm", hidden_size=16),
        **shape,
    )
    assert all(np.isfinite(value) for value in run(config).values())
    policy = load_policy(config.out, threads=1)
    assert np.isfinite(policy.infer(observation).actions).all()
    assert {weights.dtype for weights in load_file(config.out / "model.safetensors").values()} == {torch.float32}


@pytest.mark.slow
def test_two_processes_learn_as_one(short_demonstrations, folders, tmp_path) -> None:
    config = training(short_demonstrations, folders["paligemma"], tmp_path, checkpointing=True)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(to_plain(config)))
    done = torchrun(tmp_path / "train.yaml")
    assert done.returncode == 0, done.stderr
    assert load_policy(config.out, threads=1).folder.window == 3
    whole = replace(config, lora=None, pretrained=Pretrained("llava", folders["llava"]))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(to_plain(whole)))
    refused = torchrun(tmp_path / "train.yaml")
    assert refused.returncode != 0 and "leaves the last layers of its tower unread" in refused.stderr + refused.stdout


def torchrun(config: Path) -> subprocess.CompletedProcess[str]:
    """The command in two processes on the CPU."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "-m",
            "vla_ros.cli.main",
            "train",
            "--config",
            str(config),
        ],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


def test_the_loss_falls(short_demonstrations, folders, tmp_path) -> None:
    """On one batch, by adapters, head, action token and what tells the joints."""
    config = training(short_demonstrations, folders["paligemma"], tmp_path)
    module, batches = prepared(config)
    batch = batches.draw(np.random.default_rng(0))
    optimizer = torch.optim.AdamW([w for w in module.parameters() if w.requires_grad], 3e-3)
    totals = []
    for _ in range(40):
        total = sum(module(**batch).values())
        totals.append(float(total.detach()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < 0.3 * totals[0], (totals[0], totals[-1])


def learning(module: Any) -> set[str]:
    """The parts of the network that have a weight that learns."""
    names = [name for name, weights in module.vla.named_parameters() if weights.requires_grad]
    return {".".join(name.removeprefix("backbone.model.model.").split(".")[:1]) for name in names}


@pytest.mark.parametrize(
    ("choices", "parts"),
    [
        ({}, {"language_model", "act_head", "state", "backbone"}),
        ({"lora": None}, {"vision_tower", "multi_modal_projector", "language_model", "act_head", "state", "backbone"}),
        ({"lora": None, "freeze": ("vision", "projector")}, {"language_model", "act_head", "state", "backbone"}),
    ],
)
def test_what_learns(short_demonstrations, folders, tmp_path, choices, parts) -> None:
    module, batches = prepared(training(short_demonstrations, folders["llava"], tmp_path, **choices))
    assert learning(module) == parts  # "backbone" is the action token: what writes words has nothing to learn from
    sum(module(**batches.draw(np.random.default_rng(0))).values()).backward()
    unread = {name for name, weights in module.named_parameters() if weights.requires_grad and weights.grad is None}
    assert all("vision_tower" in name for name in unread)  # LLaVA leaves the tower's last layers
    assert not unread or choices == {"lora": None}


def test_a_whole_backbone_but_for_its_eyes(short_demonstrations, folders, tmp_path, observation) -> None:
    config = training(short_demonstrations, folders["paligemma"], tmp_path, lora=None, freeze=("vision",))
    run(config)
    policy, before = load_policy(config.out, threads=1), load_pretrained(config.pretrained).state_dict()
    assert np.isfinite(policy.infer(observation).actions).all()
    after = policy.model.backbone.state_dict()
    eyes = {name for name in before if "vision_tower" in name}
    assert eyes and all(torch.equal(before[name], after[name]) for name in eyes)
    assert not torch.equal(before["model.lm_head.weight"], after["model.lm_head.weight"])  # tied: words are read by it


@pytest.mark.parametrize(("formulation", "window"), [("one_step", 1), ("discrete", 1), ("interleaved", 2)])
def test_every_formulation_becomes_a_policy(
    short_demonstrations, folders, tmp_path, formulation, window, observation
) -> None:
    config = training(
        short_demonstrations,
        folders["paligemma"],
        tmp_path,
        formulation=formulation,
        window=window,
        horizon=2,
        head=HeadSizes("fc", hidden_size=16),
    )
    assert all(np.isfinite(value) for value in run(config).values())
    assert np.isfinite(load_policy(config.out, threads=1).infer(observation).actions).all()


def test_less_memory_changes_no_gradient(short_demonstrations, folders, tmp_path) -> None:
    found = []
    for checkpointing in (False, True):
        config = training(short_demonstrations, folders["paligemma"], tmp_path, checkpointing=checkpointing)
        module, batches = prepared(config)
        sum(module.train()(**batches.draw(np.random.default_rng(0))).values()).backward()
        found.append({name: w.grad for name, w in module.named_parameters() if w.grad is not None})
    assert found[0].keys() == found[1].keys() and any("lora_B" in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"lora": LoRA(targets=("q_proj", "k_prj"))}, r"'k_prj' names no linear layer .*did you mean 'k_proj'\?"),
        ({"lora": LoRA(targets=("self_attn",))}, "'self_attn' names no linear layer of the language model"),
    ],
)
def test_adapters_for_layers_that_are_not_there_are_refused(
    short_demonstrations, folders, tmp_path, choices, message
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(training(short_demonstrations, folders["paligemma"], tmp_path, **choices))


def test_a_folder_that_is_not_what_it_should_be_is_refused(short_demonstrations, folders, tmp_path) -> None:
    other = training(short_demonstrations, folders["paligemma"], tmp_path)
    with pytest.raises(ConfigError, match="must describe llava, got a paligemma"):
        run(replace(other, pretrained=Pretrained("llava", folders["paligemma"])))
    bare = backbone_folder("paligemma", tmp_path / "paligemma")
    with pytest.raises(ConfigError, match=r"has no \*\.safetensors"):
        run(training(short_demonstrations, bare, tmp_path))
    with pytest.raises(ConfigError, match=r"config\.json: no such file; it must be paligemma's"):
        run(training(short_demonstrations, tmp_path / "absent" / "paligemma", tmp_path))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"freeze": ("vision",)}, "freeze: with lora, nothing of the backbone but the adapters learns"),
        ({"formulation": "one_step"}, "window must be 1 for 'one_step', got 3"),
        ({"window": 7}, "loop.batch must be >= the window, 7, got 6"),
    ],
)
def test_trainings_that_cannot_be_are_refused(tmp_path, choices, message) -> None:
    with pytest.raises(ConfigError, match=message):
        training(tmp_path, Path("paligemma"), tmp_path, **choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"rank": 0}, "must be > 0, got 0 and"),
        ({"dropout": 1.0}, "lora.dropout must be from 0 to below 1, got 1.0"),
        ({"targets": ()}, "lora.targets is empty"),
    ],
)
def test_adapters_that_cannot_be_are_refused(choices, message) -> None:
    with pytest.raises(ConfigError, match=message):
        LoRA(**choices)


def test_a_model_folder_is_loaded_without_peft(short_demonstrations, folders, tmp_path) -> None:
    config = training(short_demonstrations, folders["paligemma"], tmp_path)
    run(config)
    code = (
        "import sys; from vla_ros.policies.loading import load_policy; "
        f"load_policy({str(config.out)!r}, threads=1); assert 'peft' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("file", sorted(path.name for path in (share_folder() / "config/training").glob("*lora*")))
def test_the_example_is_a_training(file) -> None:
    from vla_ros.core.config import read_yaml

    config = read_yaml(share_folder() / "config/training" / file, VLALibraryTraining)
    assert config.lora is not None and config.loop.ema == 0
