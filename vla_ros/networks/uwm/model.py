"""The Unified World Model: one diffusion transformer over actions and future frames, each with its own timestep.

Zhu et al., "Unified World Models: Coupling Video and Action Diffusion for Pretraining on Large Robotic Datasets"
(arXiv 2504.02792). The network is s(o, a_{t_a}, o'_{t_o'}, t_a, t_o'); a modality that is given is clean at timestep
0, one that is ignored is noise at the last timestep, and every question is one call of `UnifiedWorldModel.sample`.
Diffusion time runs from T (noise) to 0 (clean). Parameter names are those of the official code.

The presets `libero` and `droid` are the published model. The tabletop preset departs from it where two CPU cores
demand it, each departure a field of `UWMConfig`: it predicts the clean sample, sees language and joint states, leaves
out the tokens of an ignored future, shows the current latents to the future tokens, whose change it predicts (a
condition vector cannot carry a whole scene), and knows what it is to have seen nothing. With `reader_width` it also
reads a given future as a whole (`networks.uwm.frame_reader`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn

from vla_ros.networks.uwm.config import Modality, Solver, UWMConfig
from vla_ros.networks.uwm.denoiser import NoisePredictionNet
from vla_ros.networks.uwm.encoders import observation_encoder
from vla_ros.networks.uwm.frame_reader import FrameReader
from vla_ros.networks.uwm.guidance import guided
from vla_ros.networks.uwm.question import MODALITIES, Noise, Question, Sampling


def make_scheduler(config: UWMConfig, solver: Solver = "ddim") -> Any:
    """The published schedule, and how to walk down it: DDIM (arXiv 2010.02502) or DPM-Solver++ (arXiv 2211.01095)."""
    schedule = dict(
        num_train_timesteps=config.train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=config.prediction,
        timestep_spacing=config.spacing,
    )
    if solver == "ddim":
        return DDIMScheduler(clip_sample=config.clip_sample, **schedule)
    # The cosine schedule's first step has no finite log-SNR; -5.1 is diffusers' own bound for it.
    return DPMSolverMultistepScheduler(solver_order=2, lambda_min_clipped=-5.1, **schedule)


class UnifiedWorldModel(nn.Module):
    """Observation encoder and denoiser, the published loss, and one sampler for every question."""

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.config = config
        self.obs_encoder = observation_encoder(config.encoder, config.views, config.autoencoder)
        self.noise_pred_net = NoisePredictionNet(config)
        if config.null_observation:
            self.null_obs = nn.Parameter(torch.zeros(1, config.obs_features))
        if config.reader_width:
            self.frame_reader = FrameReader(
                config.views,
                config.autoencoder.latent_channels,
                config.latent_size,
                config.reader_width,
                config.future_frames,
                config.dim,
                config.obs_features,
            )
        self.scheduler = make_scheduler(config)

    def encode(self, images: Tensor, state: Tensor | None = None, tokens: Tensor | None = None) -> Tensor:
        """(B, V, T, 3, H, W) in [0, 1], (B, T, D) normalised joints, (B, L) token ids -> (B, obs_features)."""
        encoded: Tensor = self.obs_encoder(self.obs_encoder.see(images), state, tokens)
        return encoded

    def latents(self, images: Tensor) -> Tensor:
        """(B, V, 3, H, W) in [0, 1] -> (B, V, C, h, w)."""
        flat = self.obs_encoder.vae.encode(self.obs_encoder.prepare(images).flatten(0, 1))
        return flat.unflatten(0, images.shape[:2])

    def told(self, obs: Tensor, next_obs: Tensor, current: Tensor | None) -> Tensor:
        """The observation's vector (B, F) where the future (B, V, C, T, h, w) is given, clean."""
        if not self.config.reader_width:
            return obs
        if current is None:
            raise ValueError("this model reads a given future beside the current latents; pass `current`")
        told: Tensor = self.frame_reader(obs, next_obs, current)
        return told

    def loss(
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor | None = None,
        current: Tensor | None = None,
        action_known: Tensor | None = None,
        obs_known: Tensor | None = None,
        edges: float = 0.0,
        action_weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """UWM equation 3: both modalities noised at independent timesteps, mean squared error of each.

        Without `next_obs` the rows know no future: its timestep is T. Rows whose `action_known` (B,) bool is False
        know no action: their action is replaced by noise at timestep T and takes no part in the action loss. Rows
        whose `obs_known` is False have seen nothing. `edges`: see `draw_timesteps`; 0 is as published.
        `action_weight` (H, A): of the actions' squared errors; 1 is as published.
        Returns the action loss and the future loss (zero without a future), each a scalar.
        """
        action_t, next_obs_t = self.draw_timesteps(len(action), edges, action.device)
        if action_known is not None:
            action_t = torch.where(action_known, action_t, self.config.train_timesteps - 1)
            action = torch.where(action_known[:, None, None], action, torch.randn_like(action))
        if obs_known is not None:
            obs = torch.where(obs_known[:, None], obs, self.null_obs)
            current = None if current is None else torch.where(obs_known[:, None, None, None, None], current, 0.0)
        noise = torch.randn_like(action)
        noisy_action = self.scheduler.add_noise(action, noise, action_t)
        noisy_future, future_noise = None, None
        if next_obs is None:
            next_obs_t = torch.full_like(action_t, self.config.ignored_timestep)
        else:
            if self.config.reader_width:
                obs = torch.where(next_obs_t[:, None] == 0, self.told(obs, next_obs, current), obs)
            future_noise = torch.randn_like(next_obs)
            noisy_future = self.scheduler.add_noise(next_obs, future_noise, next_obs_t)
        action_out, future_out = self.noise_pred_net(obs, noisy_action, noisy_future, action_t, next_obs_t, current)
        clean = self.config.prediction == "sample"
        error = (action_out - (action if clean else noise)).float().square()
        error = (error if action_weight is None else error * action_weight).mean(dim=(1, 2))  # (B,)
        known = torch.ones_like(error) if action_known is None else action_known.float()
        action_loss = (error * known).sum() / known.sum().clamp(min=1)
        if next_obs is None or future_noise is None:
            return action_loss, torch.zeros((), device=action.device)
        return action_loss, F.mse_loss(future_out.float(), next_obs if clean else future_noise)

    def draw_timesteps(self, count: int, edges: float, device: torch.device) -> tuple[Tensor, Tensor]:
        """Two (count,) timesteps, independent and uniform; a share `edges` of the rows lies on the square's edges.

        There the questions are asked: action given (forward dynamics), future given (inverse dynamics), action
        ignored (video), future ignored (policy; only where its tokens are not left out).
        """
        last = self.config.train_timesteps - 1
        timesteps = torch.randint(0, last + 1, (2, count), device=device)
        corners = torch.tensor([[0, 0], [1, 0], [0, last], [1, last]], device=device)  # modality, its timestep
        if self.config.drop_ignored_future:
            corners = corners[:3]
        chosen = torch.rand(count, device=device) < edges
        modality, value = corners[torch.randint(0, len(corners), (count,), device=device)].unbind(-1)
        there = chosen & (modality == torch.arange(2, device=device)[:, None])  # (2, count)
        action_t, next_obs_t = torch.where(there, value, timesteps)
        return action_t, next_obs_t

    @torch.no_grad()
    def sample(
        self, obs: Tensor | None, question: Question, sampling: Sampling, noise: Noise | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Answer one question; see `networks.uwm.question`.

        obs: (B, F), or None for the unconditional questions of a model with `null_observation`.
        Returns the action and the future; the latter is None where its tokens were left out.
        """
        noise = noise or Noise()
        obs, current = self._seen(obs, question.current, sampling.batch)
        x = self._start(obs, question, noise)
        if question.next_obs is not None and x["next_obs"] is not None:
            obs = self.told(obs, x["next_obs"], current)
        if self.config.drop_ignored_future and question.ignores("next_obs"):
            x["next_obs"] = None
        schedulers = {name: make_scheduler(self.config, sampling.solver) for name in question.predict}
        for scheduler in schedulers.values():
            scheduler.set_timesteps(sampling.steps)
        fixed = question.fixed_timesteps(self.config.ignored_timestep if sampling.ignored is None else sampling.ignored)
        for t in schedulers[question.predict[0]].timesteps.tolist():
            at = [torch.full((len(obs),), fixed.get(name, t), device=obs.device) for name in MODALITIES]
            out = dict(zip(MODALITIES, self.noise_pred_net(obs, x["action"], x["next_obs"], *at, current), strict=True))
            if question.prefix is not None and "action" in question.predict and x["action"] is not None:
                alpha = self.scheduler.alphas_cumprod[t].to(obs.device)
                out["action"] = guided(out["action"], x["action"], alpha, self.config.prediction, question.prefix)
            for name in question.predict:
                x[name] = schedulers[name].step(out[name], t, x[name]).prev_sample
        assert x["action"] is not None  # mypy
        return x["action"], x["next_obs"]

    def _seen(self, obs: Tensor | None, current: Tensor | None, batch: int | None) -> tuple[Tensor, Tensor | None]:
        """Return the observation's vector and the current latents with `batch` rows; those of nothing without obs."""
        if obs is None:
            if not self.config.null_observation or batch is None:
                raise ValueError("sample: without obs, a model with null_observation and a `batch` are needed")
            obs = self.null_obs
            views, channels, _, height, width = self.config.latent_shape
            current = obs.new_zeros(1, views, channels, height, width)
        if batch is None or batch == len(obs):
            return obs, current
        if len(obs) != 1:
            raise ValueError(f"sample: batch is {batch}, so the observation must have 1 row, got {len(obs)}")
        return obs.expand(batch, -1), None if current is None else current.expand(batch, -1, -1, -1, -1)

    def _start(self, obs: Tensor, question: Question, noise: Noise) -> dict[Modality, Tensor | None]:
        """Return what each modality is before the first step: given, given as noise, or drawn."""
        shapes: dict[Modality, tuple[int, ...]] = {
            "action": (self.config.action_len, self.config.action_dim),
            "next_obs": self.config.latent_shape,
        }
        x: dict[Modality, Tensor | None] = {}
        for name, shape in shapes.items():
            start = question.given(name) if question.given(name) is not None else noise.of(name)
            if start is None:
                start = torch.randn(len(obs), *shape, device=obs.device, generator=noise.generator)
            x[name] = start.expand(len(obs), *shape)
        return x
