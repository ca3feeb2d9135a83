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

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from einops import rearrange
from torch import Tensor, nn

from vla_ros.networks.layers import AdaLNBlock, AdaLNHead, TimestepEmbedding
from vla_ros.networks.sizes import MOST_HEADS, MOST_LAYERS, MOST_TOKENS, MOST_UNITS, check_sizes
from vla_ros.networks.uwm.autoencoder import SDXL, AutoencoderConfig
from vla_ros.networks.uwm.encoders import EncoderConfig, KeypointEncoderConfig, ResNetEncoderConfig, observation_encoder
from vla_ros.networks.uwm.frame_reader import FrameReader
from vla_ros.networks.uwm.guidance import Prefix, guided

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
            self, views=(1, 16), action_dim=(1, 256), action_len=(1, 1024), dim=(1, MOST_UNITS), depth=(1, MOST_LAYERS),
            heads=(1, MOST_HEADS), mlp_ratio=(0.1, 64), timestep_dim=(2, MOST_UNITS), registers=(0, MOST_TOKENS),
            latent_size=(1, 1024), future_frames=(1, 256), patch=(1, 256), train_timesteps=(1, 100_000),
            ignored_timestep=(0, self.train_timesteps - 1), reader_width=(0, MOST_UNITS),
        )  # fmt: skip
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
                f"reader_width is {self.reader_width}; right would be 0, or more with condition_on_current: "
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
        encoder=ResNetEncoderConfig(), autoencoder=SDXL, action_len=16, dim=768, depth=12, heads=12, mlp_ratio=4.0,
        timestep_dim=512, latent_size=28, prediction="epsilon", spacing="leading", clip_sample=True,
        ignored_timestep=90, drop_ignored_future=False, condition_on_current=False, null_observation=False,
    )  # fmt: skip
    return UWMConfig(**{**choices, **sizes})


PRESETS: dict[str, UWMConfig] = {
    "tabletop": UWMConfig(),
    "libero": published(views=2, action_dim=7, registers=24),
    "droid": published(views=3, action_dim=10, registers=8, encoder=ResNetEncoderConfig(resize=(240, 320))),
}


# ------------------------------------------------------------------------------------------------- denoiser


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


# ---------------------------------------------------------------------------------------------------- model


def make_scheduler(config: UWMConfig, solver: Solver = "ddim") -> Any:
    """The published schedule, and how to walk down it: DDIM (arXiv 2010.02502) or DPM-Solver++ (arXiv 2211.01095)."""
    schedule = dict(
        num_train_timesteps=config.train_timesteps, beta_schedule="squaredcos_cap_v2",
        prediction_type=config.prediction, timestep_spacing=config.spacing,
    )  # fmt: skip
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
                config.views, config.autoencoder.latent_channels, config.latent_size, config.reader_width,
                config.future_frames, config.dim, config.obs_features,
            )  # fmt: skip
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
        self, obs: Tensor, action: Tensor, next_obs: Tensor | None = None, current: Tensor | None = None,
        action_known: Tensor | None = None, obs_known: Tensor | None = None, edges: float = 0.0,
        action_weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
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
        self, obs: Tensor | None, *, predict: tuple[Modality, ...], steps: int, action: Tensor | None = None,
        next_obs: Tensor | None = None, current: Tensor | None = None, action_noise: Tensor | None = None,
        next_obs_noise: Tensor | None = None, prefix: Prefix | None = None, batch: int | None = None,
        solver: Solver = "ddim", ignored_timestep: int | None = None, generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Answer one question.

        policy p(a|o): predict=("action",); video p(o'|o): predict=("next_obs",); forward dynamics p(o'|o,a): the same
        with `action`; inverse dynamics p(a|o,o'): predict=("action",) with `next_obs`; joint p(a,o'|o): both;
        unconditional video p(o'), an extension of ours: obs=None with `batch`.
        A modality that is neither given nor predicted is ignored: noise at the ignored timestep, drawn once.
        Initial noise is `action_noise` and `next_obs_noise`, or drawn from `generator`. `batch`: draw this many answers
        where the inputs have one row. `prefix` holds the first actions (see `networks.uwm.guidance`).
        Returns (action, next_obs); next_obs is None where its tokens were left out.
        """
        given: dict[Modality, Tensor | None] = {"action": action, "next_obs": next_obs}
        if clash := [name for name in predict if given[name] is not None]:
            raise ValueError(f"sample: {clash[0]} is both given and to be predicted")
        obs, current = self._seen(obs, current, batch)
        ignored = self.config.ignored_timestep if ignored_timestep is None else ignored_timestep
        noises: dict[Modality, Tensor | None] = {"action": action_noise, "next_obs": next_obs_noise}
        x = self._start(len(obs), obs.device, given, noises, generator)
        if next_obs is not None and x["next_obs"] is not None:
            obs = self.told(obs, x["next_obs"], current)
        if self.config.drop_ignored_future and next_obs is None and "next_obs" not in predict:
            x["next_obs"] = None
        schedulers = {name: make_scheduler(self.config, solver) for name in predict}
        for scheduler in schedulers.values():
            scheduler.set_timesteps(steps)
        for t in schedulers[predict[0]].timesteps.tolist():
            at = {name: t if name in predict else 0 if given[name] is not None else ignored for name in given}
            when = [torch.full((len(obs),), at[name], device=obs.device) for name in given]
            out = self.noise_pred_net(obs, x["action"], x["next_obs"], *when, current)
            for name, prediction in zip(given, out, strict=True):
                if name in predict:
                    if name == "action" and prefix is not None and x["action"] is not None:
                        alpha = self.scheduler.alphas_cumprod[t].to(obs.device)
                        prediction = guided(prediction, x["action"], alpha, self.config.prediction, prefix)
                    x[name] = schedulers[name].step(prediction, t, x[name]).prev_sample
        assert x["action"] is not None  # mypy
        return x["action"], x["next_obs"]

    def _seen(self, obs: Tensor | None, current: Tensor | None, batch: int | None) -> tuple[Tensor, Tensor | None]:
        """The observation's vector and the current latents, with `batch` rows; those of nothing where obs is None."""
        if obs is None:
            if not self.config.null_observation or batch is None:
                raise ValueError("sample: obs is None; right would be a model with null_observation, and `batch`")
            obs = self.null_obs
            views, channels, _, height, width = self.config.latent_shape
            current = obs.new_zeros(1, views, channels, height, width)
        if batch is None or batch == len(obs):
            return obs, current
        if len(obs) != 1:
            raise ValueError(f"sample: batch is {batch}, the observation has {len(obs)} rows; right would be 1")
        return obs.expand(batch, -1), None if current is None else current.expand(batch, -1, -1, -1, -1)

    def _start(
        self, batch: int, device: torch.device, given: dict[Modality, Tensor | None],
        noises: dict[Modality, Tensor | None], generator: torch.Generator | None,
    ) -> dict[Modality, Tensor | None]:  # fmt: skip
        """What each modality is before the first step: given, given as noise, or drawn."""
        shapes: dict[Modality, tuple[int, ...]] = {
            "action": (self.config.action_len, self.config.action_dim), "next_obs": self.config.latent_shape,
        }  # fmt: skip
        x: dict[Modality, Tensor | None] = {}
        for name, shape in shapes.items():
            start = given[name] if given[name] is not None else noises[name]
            if start is None:
                start = torch.randn(batch, *shape, device=device, generator=generator)
            x[name] = start.expand(batch, *shape)
        return x
