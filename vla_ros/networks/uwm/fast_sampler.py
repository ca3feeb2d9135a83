"""A fast sampler for `networks.uwm.model`: the same weights, the same numbers up to rounding, one question per object.

What is moved out of the loop over the steps, or left out because nobody reads it:
- adaLN: SiLU(cat(o, t)) W = SiLU(o) W_o + SiLU(t) W_t. The observation's part is one product a chunk for all blocks,
  the timesteps' part a table made once for the schedule. In the published sizes that is two thirds of all weights.
- A given or ignored modality does not change: its tokens are encoded once a chunk.
- Behind its attention the last block computes only the tokens that are read.
- The scheduler's coefficients are numbers, not calls.
- On a CPU weights are laid out beforehand (`kernels.packed`); on a GPU the whole sampler is one CUDA graph, of few
  and large kernels (`kernels.blocks`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_ros.networks.kernels.blocks import Kernels, choose
from vla_ros.networks.kernels.packed import Linear, packed
from vla_ros.networks.layers import AdaLNBlock
from vla_ros.networks.uwm.config import Modality
from vla_ros.networks.uwm.denoiser import NoisePredictionNet
from vla_ros.networks.uwm.guidance import Prefix
from vla_ros.networks.uwm.model import UnifiedWorldModel, make_scheduler
from vla_ros.networks.uwm.question import MODALITIES

EPS = 1e-6  # of the blocks' layer norms


@dataclass(frozen=True, slots=True)
class Step:
    """One step of DDIM: square roots of the cumulative alpha and of its complement, now and after the step."""

    signal: float
    noise: float
    next_signal: float
    next_noise: float


def ddim_steps(model: UnifiedWorldModel, steps: int) -> tuple[list[int], list[Step]]:
    """The timesteps of the model's schedule, and the coefficients of each step (arXiv 2010.02502, equation 12)."""
    scheduler = make_scheduler(model.config)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    stride, alphas = model.config.train_timesteps // steps, scheduler.alphas_cumprod.double()
    found = []
    for t in timesteps:
        now = alphas[t]
        after = alphas[t - stride] if t >= stride else scheduler.final_alpha_cumprod.double()
        found.append(Step(*(float(x.sqrt()) for x in (now, 1 - now, after, 1 - after))))
    return timesteps, found


def lin(linear: nn.Module, rows: int) -> Linear:
    """A packed `nn.Linear`."""
    assert isinstance(linear, nn.Linear) and linear.bias is not None  # mypy
    return packed(linear.weight, linear.bias, rows)


class FastBlock:
    """An `AdaLNBlock` with its modulation given, in six rows: shift, 1 + scale, gate of attention, then of the MLP.

    What a branch adds to the residual stream is added where the sum is normalised next, so that it is read once.
    """

    def __init__(self, block: AdaLNBlock, rows: int, read: slice | None, kernels: Kernels) -> None:
        self.heads, self.read, self.dtype = block.attn.heads, read, block.attn.proj.weight.dtype
        self.kernels = kernels
        self.qkv, self.proj, self.fc2 = (lin(part, rows) for part in (block.attn.qkv, block.attn.proj, block.mlp.fc2))
        self.fc1 = packed(block.mlp.fc1.weight, block.mlp.fc1.bias, rows, gelu=True)

    def __call__(
        self, x: Tensor, branch: Tensor | None, gate: Tensor | None, modulation: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The residual stream (B, N, D), what is still to be added to it times its gate, six of (B, D), all float32.

        Returns the same three; (B, N, D) with only the tokens of `read`, where it has one.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation
        x, normed = self.kernels.residual_norm(x, branch, gate, scale_a, shift_a, EPS, self.dtype)
        mixed = self.kernels.attention(self.qkv(normed), self.heads)
        if self.read is not None:
            x, mixed = x[:, self.read], mixed[:, self.read].contiguous()
        x, normed = self.kernels.residual_norm(x, self.proj(mixed), gate_a, scale_m, shift_m, EPS, self.dtype)
        return x, self.fc2(self.fc1(normed)), gate_m


def two_layers(layers: Sequence[Linear], x: Tensor) -> Tensor:
    """What `networks.uwm.model.two_layers` makes of x."""
    first, second = layers
    return second(F.mish(first(x)))


class FastSampler:
    """Answers one question, with DDIM, for observations of `batch` rows.

    predict, given: the modalities of a `networks.uwm.question.Question`, by name.
    dtype: of the matrix products; norms, the residual stream and the sample stay float32.
    graph: capture the sampler as a CUDA graph; None: where the model is on a GPU.
    between: called before each block of each step, for who shares the machine; a replayed graph calls nothing.
    The weights are read once: make a new object after changing them.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: UnifiedWorldModel,
        *,
        predict: tuple[Modality, ...],
        given: tuple[Modality, ...] = (),
        steps: int,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        graph: bool | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.predict, self.given, self.batch, self.dtype = model.config, predict, given, batch, dtype
        self.between, self.told = between, model.told
        config, net = model.config, model.noise_pred_net
        self.device = net.pos_embed.device
        self.drop = config.drop_ignored_future and "next_obs" not in (*predict, *given)
        self.net = net if dtype == torch.float32 else copy.deepcopy(net).to(dtype)
        actions = config.action_len
        future = 0 if self.drop else config.future_tokens
        rows = batch * (actions + future + config.registers)
        read = slice(0 if "action" in predict else actions, actions + (future if "next_obs" in predict else 0))
        self.splits = [actions if "action" in predict else 0, future if "next_obs" in predict else 0]
        last = config.depth - 1
        blocks = [block for block in self.net.blocks if isinstance(block, AdaLNBlock)]
        kernels = choose(self.device, dtype, rows // batch, config.dim // config.heads)
        self.blocks = [FastBlock(block, rows, read if i == last else None, kernels) for i, block in enumerate(blocks)]
        self.residual_norm = kernels.residual_norm
        self.head = lin(self.net.head.linear, batch * sum(self.splits))
        ends = self.net.action_encoder, self.net.action_decoder
        self.encoder, self.decoder = ([lin(end[i], batch * actions) for i in (0, 2)] for end in ends)
        self.position: Tensor = self.net.pos_embed
        if self.drop:
            self.position = torch.cat([self.position[:, :actions], self.position[:, -config.registers :]], dim=1)
        timesteps, self.steps = ddim_steps(model, steps)
        self._split_modulation(net, timesteps)
        self._graph = self.device.type == "cuda" if graph is None else graph
        self._captured: tuple[torch.cuda.CUDAGraph, dict[str, Tensor], tuple[Tensor, Tensor | None]] | None = None

    def _split_modulation(self, net: NoisePredictionNet, timesteps: list[int]) -> None:
        """The observation's weights of every block in one matrix, and the timesteps' part as a table."""
        config = self.config
        layers = [module.adaLN_modulation[1] for module in (*net.blocks, net.head)]
        weight = torch.cat([layer.weight for layer in layers])  # (depth * 6 D + 2 D, F + t)
        scales = torch.tensor([0, 1, 0, 0, 1, 0] * config.depth + [0, 1], device=self.device)  # which parts scale
        bias = torch.cat([layer.bias for layer in layers]) + scales.repeat_interleave(config.dim)
        self.obs_weight = weight[:, : config.obs_features].to(self.dtype)
        fixed = {name: 0 if name in self.given else config.ignored_timestep for name in MODALITIES}
        at = [timesteps if name in self.predict else [fixed[name]] * len(timesteps) for name in MODALITIES]
        embedded = F.silu(net.timestep_embedding(*(torch.tensor(t, device=self.device) for t in at)))  # (steps, t)
        self.table = F.linear(embedded, weight[:, config.obs_features :], bias)  # (steps, depth * 6 D + 2 D)

    @torch.no_grad()
    def __call__(
        self,
        obs: Tensor,
        *,
        action: Tensor | None = None,
        next_obs: Tensor | None = None,
        current: Tensor | None = None,
        prefix: Prefix | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Take obs (B, F); action and next_obs: given, or the initial noise (drawn if absent). As `sample` returns."""
        if "next_obs" in self.given and next_obs is not None:
            obs = self.told(obs, next_obs, current)
        batch = (self.batch, self.config.action_len, self.config.action_dim)
        x = {"obs": obs, "action": self._noise(batch) if action is None else action}
        if not self.drop:
            x["next_obs"] = self._noise((self.batch, *self.config.latent_shape)) if next_obs is None else next_obs
        if current is not None and not self.drop:
            x["current"] = current
        if prefix is not None:
            x |= {"target": prefix.actions.expand(batch), "weights": prefix.weights}
        return self._replay(x) if self._graph else self._sample(x)

    def _noise(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, device=self.device)

    def _sample(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        x: dict[Modality, Tensor] = {name: given[name] for name in MODALITIES if name in given}
        current = given["current"].to(self.dtype) if "current" in given else None
        seen = F.silu(given["obs"]).to(self.dtype)
        condition = F.linear(seen, self.obs_weight).float()  # (B, depth * 6 D + 2 D)
        constant = {name: self._tokens(name, x[name], current) for name in x if name not in self.predict}
        registers = self.net.registers.expand(self.batch, -1, -1)
        for step, table in zip(self.steps, self.table, strict=True):
            modulation = (condition + table).split(self.config.dim, dim=-1)
            tokens = [constant[n] if n in constant else self._tokens(n, x[n], current) for n in x]
            h = (torch.cat([*tokens, registers], dim=1) + self.position).float()
            branch, gate = None, None
            for i, block in enumerate(self.blocks):
                self.between()
                h, branch, gate = block(h, branch, gate, modulation[6 * i : 6 * i + 6])
            _, h = self.residual_norm(h, branch, gate, modulation[-1], modulation[-2], EPS, self.dtype)
            h = self.head(h)
            for name, out in self._decoded(h, given.get("current")).items():
                x[name] = self._moved(x[name], out.float(), step, given if name == "action" else {})
        return x["action"], x.get("next_obs")

    def _tokens(self, name: Modality, value: Tensor, current: Tensor | None) -> Tensor:
        """One modality's tokens, without their positions."""
        if name == "action":
            return two_layers(self.encoder, value.to(self.dtype))
        return self.net.future_tokens(value.to(self.dtype), current)

    def _decoded(self, h: Tensor, current: Tensor | None) -> dict[Modality, Tensor]:
        """(B, read tokens, D) -> what the network predicts of each modality that is asked for."""
        action, future = h.split(self.splits, dim=1)
        out: dict[Modality, Tensor] = {}
        if "action" in self.predict:
            out["action"] = two_layers(self.decoder, action.contiguous())
        if "next_obs" in self.predict:
            out["next_obs"] = self.net.obs_patchifier.unpatchify(future)
            if current is not None and self.config.prediction == "sample":
                out["next_obs"] = out["next_obs"] + current[:, :, :, None]
        return out

    def _moved(self, x: Tensor, out: Tensor, step: Step, prefix: dict[str, Tensor]) -> Tensor:
        """One step of DDIM, as diffusers' scheduler takes it; the clean estimate drawn towards a prefix first."""
        epsilon = self.config.prediction == "epsilon"
        clean = (x - step.noise * out) / step.signal if epsilon else out
        if "target" in prefix:
            clean = torch.lerp(clean, prefix["target"], prefix["weights"][:, None].expand_as(clean))
        noise = out if epsilon and "target" not in prefix else (x - step.signal * clean) / step.noise
        if self.config.clip_sample:
            clean = clean.clamp(-1, 1)
        return step.next_signal * clean + step.next_noise * noise

    def _replay(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Run the captured graph on new inputs; the first call captures it, once for every set of inputs."""
        if self._captured is None or set(self._captured[1]) != set(given):
            static = {name: value.clone() for name, value in given.items()}
            side = torch.cuda.Stream()  # what is captured must have run before, on a stream of its own
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self._sample(static)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self._sample(static)
            self._captured = graph, static, result
        graph, static, (action, next_obs) = self._captured
        for name, value in given.items():
            static[name].copy_(value)
        graph.replay()
        return action.clone(), None if next_obs is None else next_obs.clone()
