"""The denoiser of the Unified World Model: one transformer over actions, future patches and registers."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from vla_ros.networks.layers import AdaLNBlock, AdaLNHead, TimestepEmbedding
from vla_ros.networks.uwm.config import UWMConfig


class FuturePatchifier(nn.Module):
    """Latents of all views' future frames <-> tokens in the order (view, time, height, width)."""

    def __init__(self, config: UWMConfig) -> None:
        super().__init__()
        self.config = config
        volume = config.autoencoder.latent_channels * config.patch[0] * config.patch[1] * config.patch[2]
        self.patch_encoder = nn.Conv3d(config.autoencoder.latent_channels, config.dim, config.patch, config.patch)
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
            v=self.config.views,
            h=self.config.latent_size // ph,
            w=self.config.latent_size // pw,
            pt=pt,
            ph=ph,
            pw=pw,
        )


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
            self.current_encoder = nn.Conv2d(
                config.autoencoder.latent_channels, config.dim, config.patch[1:], config.patch[1:]
            )
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
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor | None,
        action_t: Tensor,
        next_obs_t: Tensor,
        current: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
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

    def freeze_future(self) -> None:
        """Leave out of training what only the future needs."""
        self.obs_patchifier.requires_grad_(False)
        if self.config.condition_on_current:
            self.current_encoder.requires_grad_(False)

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
