"""Whether the modes of a Unified World Model mean anything: every answer against the truth, on held-out episodes.

Forward dynamics p(o'|o,a) and video p(o'|o) are held against the simulator's own pixels and against showing the current
frame again; inverse dynamics p(a|o,o') against the policy p(a|o), by what was executed. If the modes mean something,
knowing the action helps to foresee the frames, knowing the frames helps to name the actions, and a wrong action harms.
Models are compared on the same windows; intervals are bootstrapped over episodes, whose frames are not independent.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from vla_ros.core.abilities import Policy
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.evaluation.answers import BATCH, UNTOLD, Windows, answer, columns, decode, windows_at
from vla_ros.evaluation.closed_loop import evaluate
from vla_ros.evaluation.frames import MOVING_REGION, SUMS, frame_figures, moving, score
from vla_ros.evaluation.intervals import Comparison, Floats
from vla_ros.media.grid import write_grid
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.loading import find_model, load_as
from vla_ros.policies.uwm import UWMPolicy
from vla_ros.sim.environment import Variant, make_environment
from vla_ros.sim.tabletop.tasks import TASKS

Figures = dict[str, Any]
PIXELS, MOVING_PIXELS = (SUMS.index(name) for name in ("pixels", "moving_pixels"))
SHOWN = 6  # windows in a picture
ACTIONS = ("policy", "inverse")
FRAMES = ("forward", "video", "forward_wrong_action")


@dataclass(frozen=True, slots=True)
class ModesOptions:
    """What to measure on; the defaults are those of `vla-ros eval modes`.

    episodes, seed: held-out episodes, recorded afresh. windows: how many of their windows, drawn at random.
    steps: of the sampler; None for the model's own. held_out: sentences in wordings that training never saw.
    compare: other models as NAME=FOLDER. compare_episodes: closed-loop episodes of each model. pictures: a folder.
    """

    episodes: int = 60
    seed: int = 10000
    windows: int = 512
    steps: int | None = None
    held_out: bool = False
    threads: int = 1
    device: str = "cpu"
    pictures: Path | None = None
    compare: tuple[str, ...] = ()
    compare_episodes: int = 0


def record_held_out(options: ModesOptions) -> Demonstrations:
    """Episodes of the scripted expert, with the noise of training's, on seeds that training never used."""
    # The simulator, which a training does not need.
    from vla_ros.datasets.expert import CAMERAS, LAST_SEED, STEP_NS, joints_meta, record_episodes

    if options.seed <= LAST_SEED:
        raise ConfigError(f"seed must be > {LAST_SEED} (training used the others), got {options.seed}")
    if options.episodes < 2 or options.windows < 2:
        raise ConfigError(f"episodes and windows must be >= 2, got {options.episodes} and {options.windows}")
    seeds = range(options.seed, options.seed + options.episodes)
    columns = record_episodes(track(seeds, description="recording"))[0].columns
    arrays = {name: np.stack(column) for name, column in columns.items() if name != "displaced"}
    images = {camera: arrays.pop(camera) for camera in CAMERAS}
    meta = {"tasks": list(TASKS), **joints_meta(), "step_ns": STEP_NS, "seed": options.seed}
    return Demonstrations(images=images, meta=meta, **arrays)


@dataclass(frozen=True, slots=True)
class Measured:
    """One model on N windows. frames: question -> (N, V, 6) sums of `pictures.SUMS`; actions: question -> (N,) [rad].

    latents: per channel, of the unconditional and of the true frames; empty where the model does not know p(o').
    success: of the closed-loop episodes.
    """

    frames: dict[str, Floats]
    actions: dict[str, Floats]
    latents: Figures
    steps: int
    success: list[bool]


def measure(policy: Any, windows: Windows, arm: NDArray[np.bool_], options: ModesOptions) -> Measured:
    """Ask a model everything, and hold its answers against what was executed and seen.

    arm: (D,) the columns whose error counts: all but grippers.
    """
    steps = options.steps or policy.folder.sampling_steps
    answers = answer(policy.model, policy.statistics, windows, steps)
    actions = {}
    for name in (question + told for question in ACTIONS for told in ("", UNTOLD)):
        answered = policy.statistics.restore_action(answers[name].numpy(), windows.state)
        actions[name] = np.abs(answered - windows.executed)[..., arm].mean(axis=(1, 2), dtype=np.float64)
    latents = latent_figures(answers) if "unconditional" in answers else {}
    if options.pictures is not None:
        _write_pictures(policy, windows, answers, options.pictures)
    return Measured(score_frames(policy.model, windows, answers), actions, latents, steps, closed_loop(policy, options))


def score_frames(model: UnifiedWorldModel, windows: Windows, answers: dict[str, Tensor]) -> dict[str, Floats]:
    """Sums (N, V, 6) of every answer that is a frame, of the copied current frame, and of the reconstruction."""
    names = ["reconstruction", *(question + told for question in FRAMES for told in ("", UNTOLD))]
    found: dict[str, list[Floats]] = {name: [] for name in ("copy", *names)}
    for start in track(range(0, len(windows.state), BATCH), description="measuring"):
        part = slice(start, start + BATCH)
        now, true = (frames[part].astype(np.float32) / np.float32(255) for frames in (windows.now, windows.future))
        mask = moving(now, true)
        found["copy"].append(score(np.broadcast_to(now[:, :, None], true.shape), true, mask))
        for name in names:
            predicted = decode(model, answers[name][part]).movedim(-3, -1).contiguous().numpy()
            found[name].append(score(predicted, true, mask))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def latent_figures(answers: dict[str, Tensor]) -> Figures:
    """Mean and deviation of each latent channel, unconditional against true."""
    figures = {}
    for name, source in (("predicted", "unconditional"), ("true", "reconstruction")):
        channels = answers[source].transpose(0, 2).flatten(1)  # (C, ...)
        figures[f"{name}_mean"] = [round(x, 3) for x in channels.mean(1).tolist()]
        figures[f"{name}_std"] = [round(x, 3) for x in channels.std(1).tolist()]
    return figures


def closed_loop(policy: Policy, options: ModesOptions) -> list[bool]:
    """Success of each closed-loop episode, where any were asked for."""
    if not options.compare_episodes:
        return []
    environment = make_environment("tabletop")
    try:
        results = evaluate(
            policy,
            environment,
            episodes=options.compare_episodes,
            seed=options.seed,
            variant=Variant(held_out=options.held_out),
            progress=lambda seeds: iter(track(seeds, description="closed loop")),
        )
    finally:
        environment.close()
    return [result.success for result in results]


def _write_pictures(policy: Any, windows: Windows, answers: dict[str, Tensor], folder: Path) -> None:
    chosen = np.linspace(0, len(windows.state) - 1, SHOWN).astype(np.int64)
    few, picked = windows.rows(chosen), {name: tensor[chosen] for name, tensor in answers.items()}
    for camera, contract in enumerate(policy.contract.cameras):
        shown = columns(policy.model, few, picked, camera)
        write_grid(folder / f"modes_{contract.name}.png", {name: x.cpu().numpy() for name, x in shown.items()})


def measure_modes(model: str, options: ModesOptions) -> Figures:
    """Everything that `vla-ros eval modes` prints, as plain data."""
    folders = {find_model(model).name: model, **dict(_name_and_folder(text) for text in options.compare)}
    if len(folders) != 1 + len(options.compare):
        raise ConfigError(f"--compare: the names {', '.join(folders)} must differ from each other and from the model's")
    policies = {
        name: load_as(folder, UWMPolicy, threads=options.threads, device=options.device)
        for name, folder in folders.items()
    }
    first = next(iter(policies.values()))
    for name, policy in policies.items():
        check(name, policy, first)
    data = record_held_out(options)
    horizon, future_steps, rng = first.contract.horizon, first.folder.future_steps, np.random.default_rng(options.seed)
    index = data.windows(max(horizon, *future_steps))
    index = np.sort(rng.choice(index, min(options.windows, len(index)), replace=False))
    windows = windows_at(data, index, horizon, future_steps, rng, options.held_out)
    arm = ~data.is_gripper
    own = measure(first, windows, arm, options)
    figures = {"model": next(iter(policies)), **_conditions(options, data, windows, own, first)}
    figures |= evidence(own, windows, [camera.name for camera in first.contract.cameras])
    if len(policies) > 1 or options.compare_episodes:
        quiet = dataclasses.replace(options, pictures=None)
        others = {name: measure(policy, windows, arm, quiet) for name, policy in list(policies.items())[1:]}
        figures["compare"] = compare({figures["model"]: own, **others}, windows)
    return figures


def check(name: str, policy: Any, first: Any) -> None:
    """ConfigError unless a policy can be asked about the same windows as the first one, which the tabletop records."""
    from vla_ros.datasets.expert import CAMERAS, SIZE, STEP_NS

    contract = policy.contract
    cameras = tuple((camera.name, camera.width, camera.height) for camera in contract.cameras)
    if not isinstance(policy.folder.network.encoder, KeypointEncoderConfig):
        raise ConfigError(f"{name}: its encoder takes no sentence; the modes of tabletop models are measured")
    if cameras != tuple((camera, SIZE, SIZE) for camera in CAMERAS) or contract.step_ns != STEP_NS:
        raise ConfigError(f"{name}: cameras or step are not those of the tabletop: {', '.join(CAMERAS)}, {SIZE}x{SIZE}")
    for field in ("horizon", "joints"):
        if getattr(contract, field) != getattr(first.contract, field):
            raise ConfigError(f"{name}: its {field} are not those of the first model; only like can be compared")
    if policy.folder.future_steps != first.folder.future_steps:
        raise ConfigError(f"{name}: future_steps {policy.folder.future_steps} are not {first.folder.future_steps}")


def _name_and_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--compare must be NAME=FOLDER, got '{text}'")
    return name, folder


def _conditions(options: ModesOptions, data: Demonstrations, windows: Windows, own: Measured, policy: Any) -> Figures:
    copied = own.frames["copy"]
    share = copied[..., MOVING_PIXELS].sum(0) / copied[..., PIXELS].sum(0)
    return {
        "episodes": len(np.unique(data.episode // 2)),
        "seed": options.seed,
        "windows": len(windows.state),
        "held_out_wordings": options.held_out,
        "sampling_steps": own.steps,
        "future_steps": list(policy.folder.future_steps),
        "moving_region": MOVING_REGION,
        "moving_share": {c.name: round(float(x), 4) for c, x in zip(policy.contract.cameras, share, strict=True)},
    }


def evidence(own: Measured, windows: Windows, cameras: list[str]) -> Figures:
    """What one model's answers show."""
    over = Comparison(windows.episode // 2)
    frames: Figures = {}
    for name, sums in own.frames.items():
        views = {camera: frame_figures(sums[:, v].sum(0)) for v, camera in enumerate(cameras)}
        frames[name] = {"together": frame_figures(sums.sum((0, 1))), **views}
    figures: Figures = {"frames": frames, "moving_db": {}, "actions": {}}
    for told in ("", UNTOLD):
        forward, video = own.frames[f"forward{told}"], own.frames[f"video{told}"]
        figures["moving_db"] |= {
            f"forward_over_copy{told}": over.decibels(forward, own.frames["copy"]),
            f"video_over_copy{told}": over.decibels(video, own.frames["copy"]),
            f"forward_over_video{told}": over.decibels(forward, video),
            f"forward_over_wrong_action{told}": over.decibels(forward, own.frames[f"forward_wrong_action{told}"]),
        }
        policy, inverse = own.actions[f"policy{told}"], own.actions[f"inverse{told}"]
        figures["actions"] |= {
            f"policy_mae_rad{told}": round(float(policy.mean()), 5),
            f"inverse_mae_rad{told}": round(float(inverse.mean()), 5),
            f"inverse_smaller_by_rad{told}": over.smaller(inverse, policy),
            f"policy_to_inverse{told}": over.ratio(inverse, policy),
        }
    figures["unconditional"] = {"note": "p(o') is an extension of the paper", **own.latents} if own.latents else None
    return figures


def compare(models: dict[str, Measured], windows: Windows) -> Figures:
    """Each model's figures, and by how much the first of every pair is better than the second (positive: better)."""
    table, differences = {}, []
    for name, own in models.items():
        table[name] = {
            "policy_mae_rad": round(float(own.actions["policy"].mean()), 5),
            "inverse_mae_rad": round(float(own.actions["inverse"].mean()), 5),
            "forward_moving_psnr_db": frame_figures(own.frames["forward"].sum((0, 1)))["moving_psnr_db"],
        }
        if own.success:
            table[name]["success_rate"] = round(float(np.mean(own.success)), 4)
    over = Comparison(windows.episode // 2)
    for (name, one), (other_name, other) in combinations(models.items(), 2):
        won: Figures = {
            f"{question}_mae_rad": over.smaller(one.actions[question], other.actions[question]) for question in ACTIONS
        }
        won["forward_moving_psnr_db"] = over.decibels(one.frames["forward"], other.frames["forward"])
        if one.success:
            failed = (1 - np.array(model.success, dtype=float) for model in (one, other))
            won["success_rate"] = Comparison(np.arange(len(one.success))).smaller(*failed)
        differences.append({"first": name, "second": other_name, "better_by": won})
    return {"models": table, "differences": differences}
