"""Sizes and choices of a Unified World Model, and the published presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from vla_ros.networks.sizes import MOST_HEADS, MOST_LAYERS, MOST_TOKENS, MOST_UNITS, check_sizes
from vla_ros.networks.uwm.autoencoder import SDXL, AutoencoderConfig
from vla_ros.networks.uwm.encoders import EncoderConfig, KeypointEncoderConfig, ResNetEncoderConfig

Modality = Literal["action", "next_obs"]


Solver = Literal["ddim", "dpmsolver++"]


@dataclass(frozen=True, slots=True)
class UWMConfig:
    """Sizes and choices of a Unified World Model. The defaults are the tabletop preset.

    prediction: what the network predicts. spacing, clip_sample: of the sampler's schedule.
    ignored_timestep: the index that stands for T when sampling; training masks with the last one.
    drop_ignored_future: leave the tokens of an ignored future out, in place of holding noise.
    condition_on_current: future tokens see the current latents, and predict what changes.
    null_observation: a learned vector stands for an unknown observation; makes p(o') answerable.
    reader_width: channels of a `FrameReader`, which tells the observation's vector of a given future; 0 for none.
    """

    encoder: EncoderConfig = field(default_factory=KeypointEncoderConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    views: int = 2
    action_dim: int = 7
    action_len: int = 12
    dim: int = 160
    depth: int = 5
    heads: int = 5
    mlp_ratio: float = 2.0
    timestep_dim: int = 64
    registers: int = 4
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
    null_observation: bool = True
    reader_width: int = 0

    def __post_init__(self) -> None:
        check_sizes(
            self,
            views=(1, 16),
            action_dim=(1, 256),
            action_len=(1, 1024),
            dim=(1, MOST_UNITS),
            depth=(1, MOST_LAYERS),
            heads=(1, MOST_HEADS),
            mlp_ratio=(0.1, 64),
            timestep_dim=(2, MOST_UNITS),
            registers=(0, MOST_TOKENS),
            latent_size=(1, 1024),
            future_frames=(1, 256),
            patch=(1, 256),
            train_timesteps=(1, 100_000),
            ignored_timestep=(0, self.train_timesteps - 1),
            reader_width=(0, MOST_UNITS),
        )
        t, h, w = self.patch
        if self.future_frames % t or self.latent_size % h or self.latent_size % w:
            sizes = (self.future_frames, self.latent_size, self.latent_size)
            raise ValueError(f"patch {self.patch} must divide future_frames and latent_size, {sizes}")
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        if self.future_tokens > MOST_TOKENS:
            raise ValueError(f"the future has {self.future_tokens} tokens; the limit is {MOST_TOKENS}")
        if self.reader_width and not self.condition_on_current:
            raise ValueError(
                f"reader_width must be 0 without condition_on_current, got {self.reader_width}: "
                "the reader is shown the present frame beside the future ones"
            )

    @property
    def future_tokens(self) -> int:
        """Patches of all views' future latents."""
        t, h, w = self.patch
        return self.views * (self.future_frames // t) * (self.latent_size // h) * (self.latent_size // w)

    @property
    def latent_shape(self) -> tuple[int, int, int, int, int]:
        """(V, C, T, h, w) of the future's latents."""
        return self.views, self.autoencoder.latent_channels, self.future_frames, self.latent_size, self.latent_size

    @property
    def obs_features(self) -> int:
        """Length of the observation vector."""
        return self.encoder.features(self.views)


def published(**sizes: Any) -> UWMConfig:
    """The model as published, but for `sizes`."""
    choices: dict[str, Any] = dict(
        encoder=ResNetEncoderConfig(),
        autoencoder=SDXL,
        action_len=16,
        dim=768,
        depth=12,
        heads=12,
        mlp_ratio=4.0,
        timestep_dim=512,
        latent_size=28,
        prediction="epsilon",
        spacing="leading",
        clip_sample=True,
        ignored_timestep=90,
        drop_ignored_future=False,
        condition_on_current=False,
        null_observation=False,
    )
    return UWMConfig(**{**choices, **sizes})


PRESETS: dict[str, UWMConfig] = {
    "tabletop": UWMConfig(),
    "libero": published(views=2, action_dim=7, registers=24),
    "droid": published(views=3, action_dim=10, registers=8, encoder=ResNetEncoderConfig(resize=(240, 320))),
}
