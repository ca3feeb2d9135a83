"""The Unified World Model: one diffusion transformer over actions and future frames, each with its own timestep.

Zhu et al., "Unified World Models: Coupling Video and Action Diffusion for Pretraining on Large Robotic Datasets"
(arXiv 2504.02792). The network is s(o, a_{t_a}, o'_{t_o'}, t_a, t_o'); a modality that is given is clean at timestep
0, one that is ignored is noise at the last timestep, and every question is one call of `UnifiedWorldModel.sample`.
Diffusion time runs from T (noise) to 0 (clean). Parameter names of `noise_pred_net` are those of the official code.

The tabletop preset departs from the paper where two CPU cores demand it, each departure a field of `UWMConfig`:
it predicts the clean sample, sees language and joint states, leaves out the tokens of an ignored future, and shows
the current latents to the future tokens, whose change it predicts (a condition vector cannot carry a whole scene).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from einops import rearrange
from torch import Tensor, nn

from vla_ros.networks.layers import AdaLNBlock, AdaLNHead, TimestepEmbedding
from vla_ros.networks.text import TextEncoder
from vla_ros.networks.vision import KeypointResNet

Modality = Literal["action", "next_obs"]


@dataclass(frozen=True, slots=True)
class UWMConfig:
    """Sizes and choices of a Unified World Model. The defaults are the tabletop preset."""

    views: int = 2
    state_dim: int = 7
    action_dim: int = 7
    action_len: int = 12
    dim: int = 128
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 2.0
    timestep_dim: int = 64
    registers: int = 4
    encoder_widths: tuple[int, int, int] = (24, 48, 48)
    encoder_features: int = 128
    obs_features: int = 256
    text_buckets: int = 4096
    text_length: int = 256
    text_dim: int = 64
    latent_channels: int = 4
    latent_size: int = 16
    future_frames: int = 2
    patch: tuple[int, int, int] = (2, 4, 4)
    train_timesteps: int = 100
    prediction: Literal["epsilon", "sample"] = "sample"
    spacing: Literal["leading", "trailing"] = "trailing"
    clip_sample: bool = False
    ignored_timestep: int = 99
    drop_ignored_future: bool = True
    condition_on_current: bool = True

    @property
    def future_tokens(self) -> int:
        """Patches of all views' future latents."""
        t, h, w = self.patch
        return self.views * (self.future_frames // t) * (self.latent_size // h) * (self.latent_size // w)


PRESETS: dict[str, UWMConfig] = {"tabletop": UWMConfig()}


# ---------------------------------------------------------------------------------------------- observation


class ConditionedResidual(nn.Module):
    """A residual MLP whose hidden units are scaled and shifted by a sentence (FiLM, arXiv 1709.07871)."""

    def __init__(self, dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.film = nn.Linear(text_dim, 4 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(B, D), (B, text) -> (B, D)."""
        scale, shift = self.film(text).chunk(2, dim=-1)
        return x + self.fc2(F.silu(self.fc1(self.norm(x)) * (1 + scale) + shift))


class ObservationEncoder(nn.Module):
    """Images, joint states and a sentence in one vector.

    The image part does not see the sentence, so one image serves many sentences in training.
    """

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.img_encoder = nn.ModuleList(
            KeypointResNet(config.encoder_widths, config.encoder_features) for _ in range(config.views)
        )
        self.text_encoder = TextEncoder(config.text_buckets, config.text_dim)
        self.fuse_in = nn.Linear(config.views * config.encoder_features + config.state_dim, config.obs_features)
        self.fuse = nn.ModuleList(ConditionedResidual(config.obs_features, config.text_dim) for _ in range(3))

    def see(self, images: Tensor) -> Tensor:
        """(B, V, 3, H, W) in [0, 1] -> (B, V * features)."""
        views = [encoder(images[:, v]) for v, encoder in enumerate(self.img_encoder)]
        return torch.cat(views, dim=-1)

    def forward(self, visual: Tensor, state: Tensor, tokens: Tensor) -> Tensor:
        """(B, V * features) from `see`, (B, D) normalised joints, (B, L) token ids -> (B, obs_features)."""
        text = self.text_encoder(tokens)
        x = self.fuse_in(torch.cat([visual, state], dim=-1))
        for block in self.fuse:
            x = block(x, text)
        return x


# ------------------------------------------------------------------------------------------------- denoiser


class FuturePatchifier(nn.Module):
    """Latents of all views' future frames <-> tokens in the order (view, time, height, width)."""

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.config = config
        volume = config.latent_channels * config.patch[0] * config.patch[1] * config.patch[2]
        self.patch_encoder = nn.Conv3d(config.latent_channels, config.dim, config.patch, config.patch)
        self.patch_decoder = nn.Linear(config.dim, volume)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, V, C, T, h, w) -> (B, N, dim)."""
        patches = self.patch_encoder(latents.flatten(0, 1))  # (B V, dim, T/pt, h/ph, w/pw)
        return rearrange(patches, "(b v) d t h w -> b (v t h w) d", v=latents.shape[1])

    def unpatchify(self, tokens: Tensor) -> Tensor:
        """(B, N, dim) -> (B, V, C, T, h, w)."""
        pt, ph, pw = self.config.patch
        return rearrange(
            self.patch_decoder(tokens),
            "b (v t h w) (c pt ph pw) -> b v c (t pt) (h ph) (w pw)",
            v=self.config.views, h=self.config.latent_size // ph, w=self.config.latent_size // pw, pt=pt, ph=ph, pw=pw,
        )  # fmt: skip


def two_layers(dim_in: int, hidden: int, dim_out: int) -> nn.Sequential:
    """The action encoder's and decoder's shape: Linear, Mish, Linear."""
    return nn.Sequential(nn.Linear(dim_in, hidden), nn.Mish(), nn.Linear(hidden, dim_out))


class NoisePredictionNet(nn.Module):
    """The transformer over [action tokens | future patches | registers], modulated by observation and timesteps."""

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.config = config
        hidden = int(config.dim * config.mlp_ratio)
        condition = config.obs_features + config.timestep_dim
        self.obs_patchifier = FuturePatchifier(config)
        self.action_encoder = two_layers(config.action_dim, hidden, config.dim)
        self.action_decoder = two_layers(config.dim, hidden, config.action_dim)
        self.timestep_embedding = TimestepEmbedding(config.timestep_dim)
        self.registers = nn.Parameter(torch.empty(1, config.registers, config.dim))
        length = config.action_len + config.future_tokens + config.registers
        self.pos_embed = nn.Parameter(torch.empty(1, length, config.dim))
        self.blocks = nn.ModuleList(
            AdaLNBlock(config.dim, config.heads, config.mlp_ratio, condition) for _ in range(config.depth)
        )
        self.head = AdaLNHead(config.dim, condition)
        if config.condition_on_current:
            self.current_encoder = nn.Conv2d(config.latent_channels, config.dim, config.patch[1:], config.patch[1:])
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """As published: N(0, 0.02) throughout; zero modulation and head, so every block starts as the identity."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
                nn.init.normal_(module.weight, std=0.02)
                assert module.bias is not None  # mypy
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.registers, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        for block in [*self.blocks, self.head]:
            nn.init.zeros_(block.adaLN_modulation[1].weight)
            nn.init.zeros_(block.adaLN_modulation[1].bias)
        nn.init.zeros_(self.head.linear.weight)

    def forward(
        self, obs: Tensor, action: Tensor, next_obs: Tensor | None, action_t: Tensor, next_obs_t: Tensor,
        current: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Predict the noise (or the clean sample) of both modalities.

        obs (B, F); action (B, H, A); next_obs (B, V, C, T, h, w) or None to leave its tokens out; action_t and
        next_obs_t (B,); current (B, V, C, h, w), the latents of the present frames, where the config wants them.
        """
        batch, actions = action.shape[:2]
        condition = torch.cat([obs, self.timestep_embedding(action_t, next_obs_t)], dim=-1)  # (B, F + t)
        registers = self.registers.expand(batch, -1, -1)
        position: Tensor = self.pos_embed
        if next_obs is None:
            x = torch.cat([self.action_encoder(action), registers], dim=1)
            position = torch.cat([position[:, :actions], position[:, -self.config.registers :]], dim=1)
        else:
            x = torch.cat([self.action_encoder(action), self.future_tokens(next_obs, current), registers], dim=1)
        x = x + position
        for block in self.blocks:
            x = block(x, condition)
        x = self.head(x, condition)
        if next_obs is None:
            return self.action_decoder(x[:, :actions]), None
        future = self.obs_patchifier.unpatchify(x[:, actions : actions + self.config.future_tokens])
        if current is not None and self.config.prediction == "sample":
            future = future + current[:, :, :, None]  # the network predicts what changes
        return self.action_decoder(x[:, :actions]), future

    def future_tokens(self, next_obs: Tensor, current: Tensor | None) -> Tensor:
        """Noisy future (B, V, C, T, h, w), and what is there now (B, V, C, h, w) -> (B, N, dim)."""
        tokens = self.obs_patchifier(next_obs)
        if not self.config.condition_on_current:
            return tokens
        if current is None:
            raise ValueError("this model conditions the future on the current latents; pass `current`")
        now = rearrange(self.current_encoder(current.flatten(0, 1)), "(b v) d h w -> b v 1 (h w) d", b=len(current))
        repeats = self.config.future_frames // self.config.patch[0]
        return tokens + now.expand(-1, -1, repeats, -1, -1).flatten(1, 3)


# ---------------------------------------------------------------------------------------------------- model


class UnifiedWorldModel(nn.Module):
    """Observation encoder and denoiser, the published loss, and one sampler for every question."""

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.config = config
        self.obs_encoder = ObservationEncoder(config)
        self.noise_pred_net = NoisePredictionNet(config)
        self.scheduler = DDIMScheduler(
            num_train_timesteps=config.train_timesteps, beta_schedule="squaredcos_cap_v2",
            prediction_type=config.prediction, timestep_spacing=config.spacing, clip_sample=config.clip_sample,
        )  # fmt: skip

    def encode(self, images: Tensor, state: Tensor, tokens: Tensor) -> Tensor:
        """(B, V, 3, H, W) in [0, 1], (B, D) normalised joints, (B, L) token ids -> (B, obs_features)."""
        return self.obs_encoder(self.obs_encoder.see(images), state, tokens)

    def loss(
        self, obs: Tensor, action: Tensor, next_obs: Tensor | None = None, current: Tensor | None = None,
        action_known: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """UWM equation 3: both modalities noised at independent timesteps, mean squared error of each.

        Without `next_obs` the rows know no future: its timestep is T. Rows whose `action_known` (B,) bool is False
        know no action: their action is replaced by noise at timestep T and takes no part in the action loss.
        Returns the action loss and the future loss (zero without a future), each a scalar.
        """
        batch, device = len(action), action.device
        last = self.config.train_timesteps - 1
        action_t = torch.randint(0, last + 1, (batch,), device=device)
        if action_known is not None:
            action_t = torch.where(action_known, action_t, torch.full_like(action_t, last))
            action = torch.where(action_known[:, None, None], action, torch.randn_like(action))
        noise = torch.randn_like(action)
        noisy_action = self.scheduler.add_noise(action, noise, action_t)
        next_obs_t = torch.full_like(action_t, self.config.ignored_timestep)
        noisy_future, future_noise = None, None
        if next_obs is not None:
            next_obs_t = torch.randint(0, last + 1, (batch,), device=device)
            future_noise = torch.randn_like(next_obs)
            noisy_future = self.scheduler.add_noise(next_obs, future_noise, next_obs_t)
        action_out, future_out = self.noise_pred_net(obs, noisy_action, noisy_future, action_t, next_obs_t, current)
        clean = self.config.prediction == "sample"
        error = (action_out - (action if clean else noise)).float().square().mean(dim=(1, 2))  # (B,)
        known = torch.ones_like(error) if action_known is None else action_known.float()
        action_loss = (error * known).sum() / known.sum().clamp(min=1)
        if next_obs is None or future_out is None or future_noise is None:
            return action_loss, torch.zeros((), device=device)
        return action_loss, F.mse_loss(future_out.float(), next_obs if clean else future_noise)

    @torch.no_grad()
    def sample(
        self, obs: Tensor, *, predict: tuple[Modality, ...], steps: int, action: Tensor | None = None,
        next_obs: Tensor | None = None, current: Tensor | None = None, action_noise: Tensor | None = None,
        next_obs_noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Answer one question by DDIM (arXiv 2010.02502, eta 0).

        policy p(a|o): predict=("action",); video p(o'|o): predict=("next_obs",); forward dynamics p(o'|o,a): the same
        with `action`; inverse dynamics p(a|o,o'): predict=("action",) with `next_obs`; joint: both.
        A modality that is neither given nor predicted is ignored: noise at the ignored timestep, drawn once.
        Initial noise is drawn from torch's generator unless given. Returns (action, next_obs); next_obs is None where
        its tokens were left out.
        """
        config, batch, device = self.config, len(obs), obs.device
        given: dict[Modality, Tensor | None] = {"action": action, "next_obs": next_obs}
        if clash := [name for name in predict if given[name] is not None]:
            raise ValueError(f"sample: {clash[0]} is both given and to be predicted")
        size = (config.future_frames, config.latent_size, config.latent_size)
        shapes = {
            "action": (batch, config.action_len, config.action_dim),
            "next_obs": (batch, config.views, config.latent_channels, *size),
        }
        noises: dict[Modality, Tensor | None] = {"action": action_noise, "next_obs": next_obs_noise}
        x: dict[Modality, Tensor | None] = {}
        for name in given:
            x[name] = given[name] if given[name] is not None else noises[name]
            if x[name] is None:
                x[name] = torch.randn(shapes[name], device=device)
        if config.drop_ignored_future and next_obs is None and "next_obs" not in predict:
            x["next_obs"] = None
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps.tolist():
            at = {
                name: torch.full((batch,), t if name in predict else 0 if given[name] is not None
                                 else config.ignored_timestep, device=device)
                for name in given
            }  # fmt: skip
            out = self.noise_pred_net(obs, x["action"], x["next_obs"], at["action"], at["next_obs"], current)
            for name, prediction in zip(given, out, strict=True):
                if name in predict:
                    x[name] = self.scheduler.step(prediction, t, x[name]).prev_sample
        assert x["action"] is not None  # mypy
        return x["action"], x["next_obs"]
