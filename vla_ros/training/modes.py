"""Whether the modes of a Unified World Model mean anything: every answer against the truth, on held-out episodes.

Forward dynamics p(o'|o,a) and video p(o'|o) are held against the simulator's own pixels and against showing the current
frame again; inverse dynamics p(a|o,o') against the policy p(a|o), by what was executed. If the modes mean something,
knowing the action helps to foresee the frames, knowing the frames helps to name the actions, and a wrong action harms.
Models are compared on the same windows; intervals are bootstrapped over episodes, whose frames are not independent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from vla_ros.core.errors import ConfigError
from vla_ros.networks.observation import KeypointEncoderConfig
from vla_ros.networks.text import PADDING, tokenize, words_of
from vla_ros.networks.uwm import UnifiedWorldModel
from vla_ros.policies.loading import find_model, load_policy
from vla_ros.policies.statistics import Statistics
from vla_ros.sim.tasks import TASKS, wordings
from vla_ros.training.dataset import Demonstrations
from vla_ros.training.pictures import MOVING_REGION, SUMS, frame_figures, moving, score, write_grid

Floats = NDArray[np.float64]
Figures = dict[str, Any]
BATCH = 64  # windows
DRAWS = 2000  # of the bootstrap
SQUARED, PIXELS, MOVING_PIXELS = (SUMS.index(name) for name in ("moving_squared", "pixels", "moving_pixels"))
SHOWN = 6  # windows in a picture
UNTOLD = "_without_instruction"
ACTIONS = ("policy", "inverse")
FRAMES = ("forward", "video", "forward_wrong_action")


@dataclass(frozen=True, slots=True)
class Options:
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


@dataclass(frozen=True, slots=True)
class Windows:
    """N moments of recorded episodes with what was done and seen next; V cameras, F future frames, H steps, D joints.

    now: (N, V, H, W, 3) uint8. future: (N, V, F, H, W, 3) uint8. state: (N, D) and executed: (N, H, D), positions.
    episode: (N,). sentences: N.
    """

    now: NDArray[np.uint8]
    future: NDArray[np.uint8]
    state: NDArray[np.float32]
    executed: NDArray[np.float32]
    episode: NDArray[np.integer[Any]]
    sentences: tuple[str, ...]

    def rows(self, part: slice | NDArray[np.int64]) -> Windows:
        """Some of them."""
        sentences = tuple(np.asarray(self.sentences)[part].tolist())
        return Windows(
            self.now[part], self.future[part], self.state[part], self.executed[part], self.episode[part], sentences
        )


def windows_at(
    data: Demonstrations, index: NDArray[np.int64], horizon: int, future_steps: tuple[int, ...],
    rng: np.random.Generator, held_out: bool = False,
) -> Windows:  # fmt: skip
    """The windows that begin at the frames `index`, each with a random wording of its task."""
    now = np.stack([images[index] for images in data.images.values()], axis=1)
    later = index[:, None] + np.asarray(future_steps)
    future = np.stack([images[later] for images in data.images.values()], axis=1)
    executed = data.executed[index[:, None] + np.arange(horizon)]
    tasks = (TASKS[data.meta["tasks"][task]] for task in data.task[index].tolist())
    sentences = tuple(str(rng.choice(wordings(task, held_out=held_out))) for task in tasks)
    return Windows(now, future, data.state[index], executed, data.episode[index], sentences)


def record_held_out(options: Options) -> Demonstrations:
    """Episodes of the scripted expert, with the noise of training's, on seeds that training never used."""
    # The simulator, which a training does not need.
    from vla_ros.sim.tabletop import JOINTS
    from vla_ros.training.demonstrations import CAMERAS, LAST_SEED, STEP_NS, record_episodes

    if options.seed <= LAST_SEED:
        raise ConfigError(f"seed is {options.seed}; right would be above {LAST_SEED}: training used the others")
    if options.episodes < 2 or options.windows < 2:
        raise ConfigError(f"{options.episodes} episodes, {options.windows} windows; right would be 2 or more of each")
    seeds = range(options.seed, options.seed + options.episodes)
    columns = record_episodes(track(seeds, description="recording"))[0].columns
    arrays = {name: np.stack(column) for name, column in columns.items() if name != "displaced"}
    images = {camera: arrays.pop(camera) for camera in CAMERAS}
    meta = {"tasks": list(TASKS), "joints": list(JOINTS), "step_ns": STEP_NS, "seed": options.seed}
    return Demonstrations(images=images, meta=meta, **arrays)


# ------------------------------------------------------------------------------------------------- answers


def as_floats(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [0, 1]."""
    return torch.from_numpy(frames).to(device).movedim(-1, -3).float() / 255


def answer(
    model: UnifiedWorldModel, statistics: Statistics, windows: Windows, steps: int, seed: int = 0
) -> dict[str, Tensor]:
    """The answers to every question about N windows, all from the same initial noise: N answers by name.

    Actions (N, H, D), normalised; frames as latents (N, V, C, F, h, w). "current" and "reconstruction" are the true
    frames' latents; a wrong action is another window's; "unconditional" is there where the model knows p(o').
    """
    draw = torch.Generator().manual_seed(seed)
    config, count = model.config, len(windows.state)
    actions = torch.from_numpy(statistics.normalise_action(windows.executed, windows.state))
    noise = torch.randn(count, config.action_len, config.action_dim, generator=draw)
    frames_noise = torch.randn(count, *config.latent_shape, generator=draw)
    device = next(model.parameters()).device
    apart = actions.roll(max(1, count // 2), dims=0)  # windows are in the order of their episodes
    batches = []
    with torch.no_grad():
        for start in range(0, count, BATCH):
            part = slice(start, start + BATCH)
            given = [x[part].to(device) for x in (actions, apart, noise, frames_noise)]
            batches.append(_answer_batch(model, statistics, windows.rows(part), steps, *given))
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _answer_batch(
    model: UnifiedWorldModel, statistics: Statistics, windows: Windows, steps: int, actions: Tensor, apart: Tensor,
    action_noise: Tensor, frames_noise: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    encoder, device = model.config.encoder, actions.device
    assert isinstance(encoder, KeypointEncoderConfig)  # `check` has refused others
    now, future = as_floats(windows.now, device), as_floats(windows.future, device)
    current = model.latents(now)
    later = torch.stack([model.latents(frames) for frames in future.unbind(2)], dim=3)  # (B, V, C, F, h, w)
    visual = model.obs_encoder.see(now[:, :, None])
    state = torch.from_numpy(statistics.normalise_state(windows.state)).to(device)[:, None]
    rows = [tokenize(words_of(sentence), encoder.text_buckets, encoder.text_length) for sentence in windows.sentences]
    tokens = torch.tensor(rows, device=device)
    ask = partial(model.sample, steps=steps, action_noise=action_noise, next_obs_noise=frames_noise)
    found: dict[str, Tensor | None] = {"current": current, "reconstruction": later}
    for told, words in (("", tokens), (UNTOLD, torch.full_like(tokens, PADDING))):
        about = partial(ask, model.obs_encoder(visual, state, words), current=current)
        found[f"policy{told}"], _ = about(predict=("action",))
        found[f"inverse{told}"], _ = about(predict=("action",), next_obs=later)
        _, found[f"forward{told}"] = about(predict=("next_obs",), action=actions)
        _, found[f"forward_wrong_action{told}"] = about(predict=("next_obs",), action=apart)
        _, found[f"video{told}"] = about(predict=("next_obs",))
    if model.config.null_observation:
        _, found["unconditional"] = ask(None, predict=("next_obs",), batch=len(now))
    return {name: tensor.float().cpu() for name, tensor in found.items() if tensor is not None}


def decode(model: UnifiedWorldModel, latents: Tensor) -> Tensor:
    """Latents (N, V, C, F, h, w) -> frames (N, V, F, 3, H, W) in [0, 1]."""
    flat = latents.transpose(2, 3)  # (N, V, F, C, h, w)
    with torch.no_grad():
        frames = model.obs_encoder.vae.decode(flat.flatten(0, 2).to(next(model.parameters()).device))
    return frames.unflatten(0, flat.shape[:3]).cpu()


def columns(model: UnifiedWorldModel, windows: Windows, answers: dict[str, Tensor], camera: int) -> dict[str, Tensor]:
    """What one camera sees now, what it truly sees at the last future step, and the answers: (N, 3, H, W) each."""
    cpu = torch.device("cpu")
    shown = {"now": as_floats(windows.now[:, camera], cpu), "true": as_floats(windows.future[:, camera, -1], cpu)}
    for name in ("forward", "video", "unconditional"):
        if name in answers:
            shown[name] = decode(model, answers[name][: len(windows.state), camera : camera + 1, :, -1:])[:, 0, 0]
    return shown


# --------------------------------------------------------------------------------------------- measurements


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


def measure(policy: Any, windows: Windows, options: Options) -> Measured:
    """Ask a model everything, and hold its answers against what was executed and seen."""
    steps = options.steps or policy.folder.sampling_steps
    answers = answer(policy.model, policy.statistics, windows, steps)
    arm = np.array(["gripper" not in joint for joint in policy.contract.joints])
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


def closed_loop(policy: Any, options: Options) -> list[bool]:
    """Success of each closed-loop episode, where any were asked for."""
    if not options.compare_episodes:
        return []
    from vla_ros.training.evaluation import evaluate  # the simulator, which a training does not need

    return [
        result.success
        for result in evaluate(
            policy, episodes=options.compare_episodes, seed=options.seed, held_out=options.held_out,
            progress=lambda seeds: iter(track(seeds, description="closed loop")),
        )
    ]  # fmt: skip


def _write_pictures(policy: Any, windows: Windows, answers: dict[str, Tensor], folder: Path) -> None:
    chosen = np.linspace(0, len(windows.state) - 1, SHOWN).astype(np.int64)
    few, picked = windows.rows(chosen), {name: tensor[chosen] for name, tensor in answers.items()}
    for camera, contract in enumerate(policy.contract.cameras):
        write_grid(folder / f"modes_{contract.name}.png", columns(policy.model, few, picked, camera))


# ------------------------------------------------------------------------------------------------ intervals


def bootstrap(rows: Floats, groups: NDArray[np.integer[Any]], statistic: Callable[[Floats], Floats]) -> Figures:
    """A statistic of summed rows, with a 95 % interval over groups drawn with replacement.

    rows: (N, K) sums of each window. groups: (N,). statistic: (..., K) -> (...).
    """
    names, number = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, number, rows)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)  # (DRAWS, groups)
    low, high = np.nanpercentile(statistic(times @ sums), (2.5, 97.5))
    return {name: round(float(x), 5) for name, x in (("value", statistic(sums.sum(0))), ("low", low), ("high", high))}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences with intervals, over the episodes (N,) that the windows come from."""

    groups: NDArray[np.integer[Any]]

    def decibels(self, better: Floats, worse: Floats) -> Figures:
        """By how much PSNR in the moving region is higher, of sums (N, V, 6) over the same pixels [dB]."""
        rows = np.stack([sums.sum(1)[:, SQUARED] for sums in (better, worse)], axis=1)
        return bootstrap(rows, self.groups, lambda sums: 10 * np.log10(sums[..., 1] / sums[..., 0]))

    def smaller(self, better: Floats, worse: Floats) -> Figures:
        """By how much the mean of errors (N,) is smaller [their unit]."""
        rows = np.stack([better, worse, np.ones_like(better)], axis=1)
        return bootstrap(rows, self.groups, lambda sums: (sums[..., 1] - sums[..., 0]) / sums[..., 2])

    def ratio(self, better: Floats, worse: Floats) -> Figures:
        """The mean of errors `worse` over that of `better`."""
        return bootstrap(np.stack([better, worse], axis=1), self.groups, lambda sums: sums[..., 1] / sums[..., 0])


# ------------------------------------------------------------------------------------------------- evidence


def measure_modes(model: str, options: Options) -> Figures:
    """Everything that `vla-ros eval modes` prints, as plain data."""
    folders = {find_model(model).name: model, **dict(_name_and_folder(text) for text in options.compare)}
    if len(folders) != 1 + len(options.compare):
        raise ConfigError(f"--compare: the names {', '.join(folders)} must differ from each other and from the model's")
    policies = {
        name: load_policy(folder, threads=options.threads, device=options.device) for name, folder in folders.items()
    }
    first = next(iter(policies.values()))
    for name, policy in policies.items():
        check(name, policy, first)
    data = record_held_out(options)
    horizon, future_steps, rng = first.contract.horizon, first.folder.future_steps, np.random.default_rng(options.seed)
    index = data.windows(max(horizon, *future_steps))
    index = np.sort(rng.choice(index, min(options.windows, len(index)), replace=False))
    windows = windows_at(data, index, horizon, future_steps, rng, options.held_out)
    own = measure(first, windows, options)
    figures = {"model": next(iter(policies)), **_conditions(options, data, windows, own, first)}
    figures |= evidence(own, windows, [camera.name for camera in first.contract.cameras])
    if len(policies) > 1 or options.compare_episodes:
        quiet = dataclasses.replace(options, pictures=None)
        others = {name: measure(policy, windows, quiet) for name, policy in list(policies.items())[1:]}
        figures["compare"] = compare({figures["model"]: own, **others}, windows)
    return figures


def check(name: str, policy: Any, first: Any) -> None:
    """ConfigError unless a policy can be asked about the same windows as the first one, which the tabletop records."""
    from vla_ros.training.demonstrations import CAMERAS, SIZE, STEP_NS

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
        raise ConfigError(f"--compare '{text}'; right would be NAME=FOLDER")
    return name, folder


def _conditions(options: Options, data: Demonstrations, windows: Windows, own: Measured, policy: Any) -> Figures:
    copied = own.frames["copy"]
    share = copied[..., MOVING_PIXELS].sum(0) / copied[..., PIXELS].sum(0)
    return {
        "episodes": len(np.unique(data.episode // 2)), "seed": options.seed, "windows": len(windows.state),
        "held_out_wordings": options.held_out, "sampling_steps": own.steps,
        "future_steps": list(policy.folder.future_steps), "moving_region": MOVING_REGION,
        "moving_share": {c.name: round(float(x), 4) for c, x in zip(policy.contract.cameras, share, strict=True)},
    }  # fmt: skip


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


# --------------------------------------------------------------------------------------------------- table


def table(figures: Figures) -> str:
    """The figures for people."""
    lines = [
        f"{figures['model']}: {figures['windows']} windows of {figures['episodes']} held-out episodes, "
        f"frames at steps {figures['future_steps']}, {figures['sampling_steps']} sampling steps",
        f"moving region: {figures['moving_region']}", "",
        f"{'frames (cameras together)':<42}{'PSNR dB':>9}{'SSIM':>8}{'moving PSNR dB':>16}{'moving SSIM':>13}",
    ]  # fmt: skip
    for name, parts in figures["frames"].items():
        whole = parts["together"]
        lines.append(
            f"  {name.replace('_', ' '):<40}{_cell(whole['psnr_db'], 9, 2)}{_cell(whole['ssim'], 8, 3)}"
            f"{_cell(whole['moving_psnr_db'], 16, 2)}{_cell(whole['moving_ssim'], 13, 3)}"
        )
    lines += ["", "in the moving region [dB], 95 % interval over episodes"]
    lines += [_interval(name, value, 2) for name, value in figures["moving_db"].items()]
    lines += ["", "actions of the arm [rad]"]
    for name, value in figures["actions"].items():
        lines.append(_interval(name, value, 4) if isinstance(value, dict) else f"  {name.replace('_', ' '):<46}{value}")
    if figures["unconditional"]:
        lines += ["", "unconditional video, latents by channel"]
        lines += [f"  {name.replace('_', ' '):<18}{value}" for name, value in figures["unconditional"].items()]
    return "\n".join(lines + _compared(figures.get("compare", {"models": {}, "differences": []})))


def _compared(found: Figures) -> list[str]:
    lines = ["", "models"] if found["models"] else []
    lines += [f"  {name:<24}{_listed(row)}" for name, row in found["models"].items()]
    for pair in found["differences"]:
        lines += ["", f"{pair['first']} is better than {pair['second']} by"]
        lines += [_interval(name, value, 4) for name, value in pair["better_by"].items()]
    return lines


def _listed(row: Figures) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items())


def _interval(name: str, value: Figures, digits: int) -> str:
    low, high = (f"{value[end]:+.{digits}f}" for end in ("low", "high"))
    return f"  {name.replace('_', ' '):<46}{value['value']:+.{digits}f}  [{low}, {high}]"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
