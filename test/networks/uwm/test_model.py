"""The Unified World Model: gradients where they belong, questions answered in the shapes they promise."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import DDIMScheduler
from uwm_questions import sample

from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import PRESETS, UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig, ResNetEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel

TINY = UWMConfig(
    KeypointEncoderConfig(7, (8, 8, 8), 16, obs_features=32, text_buckets=64, text_length=16, text_dim=8),
    AutoencoderConfig((8, 8, 8)),
    dim=32,
    depth=2,
    heads=2,
    timestep_dim=16,
    latent_size=8,
)


READING = dataclasses.replace(TINY, reader_width=8)


def wake(model: UnifiedWorldModel) -> UnifiedWorldModel:
    """Zero-initialised modulation would make every answer the same; give it weights."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module", params=[TINY, READING], ids=["plain", "frame reader"])
def model(request) -> UnifiedWorldModel:
    return wake(UnifiedWorldModel(request.param))


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "obs": torch.randn(3, 32),
        "action": torch.randn(3, 12, 7),
        "next_obs": torch.randn(3, 2, 4, 2, 8, 8),
        "current": torch.randn(3, 2, 4, 8, 8),
    }


def test_every_question_has_the_promised_shape(model, inputs):
    obs, current = inputs["obs"], inputs["current"]
    action, nothing = sample(model, obs, predict=("action",), steps=3)
    assert action.shape == (3, 12, 7) and nothing is None
    _, video = sample(model, obs, predict=("next_obs",), steps=3, current=current)
    assert video.shape == (3, 2, 4, 2, 8, 8)
    same, forward = sample(model, obs, predict=("next_obs",), steps=3, action=inputs["action"], current=current)
    assert torch.equal(same, inputs["action"]) and forward.shape == video.shape
    inverse, given = sample(model, obs, predict=("action",), steps=3, next_obs=inputs["next_obs"], current=current)
    assert inverse.shape == (3, 12, 7) and torch.equal(given, inputs["next_obs"])
    joint = sample(model, obs, predict=("action", "next_obs"), steps=3, current=current)
    assert joint[0].shape == action.shape and joint[1].shape == video.shape


def test_knowing_the_action_changes_the_imagined_future(model, inputs):
    noise = torch.randn(3, 2, 4, 2, 8, 8)
    ask = dict(predict=("next_obs",), steps=3, current=inputs["current"], next_obs_noise=noise)
    _, one = sample(model, inputs["obs"], action=inputs["action"], **ask)
    _, other = sample(model, inputs["obs"], action=-inputs["action"], **ask)
    assert not torch.allclose(one, other, atol=1e-4)


def test_the_same_noise_gives_the_same_chunk_and_another_observation_another_one(model, inputs):
    noise = torch.randn(3, 12, 7)
    first, _ = sample(model, inputs["obs"], predict=("action",), steps=4, action_noise=noise)
    again, _ = sample(model, inputs["obs"], predict=("action",), steps=4, action_noise=noise)
    other, _ = sample(model, inputs["obs"].flip(0), predict=("action",), steps=4, action_noise=noise)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-4)


def test_a_modality_cannot_be_given_and_predicted(model, inputs):
    with pytest.raises(ValueError, match="action is both given and to be predicted"):
        sample(model, inputs["obs"], predict=("action",), steps=2, action=inputs["action"])


def test_a_future_without_the_present_is_refused(model, inputs):
    with pytest.raises(ValueError, match="pass `current`"):
        sample(model, inputs["obs"], predict=("next_obs",), steps=2)


def test_rows_without_actions_do_not_teach_actions(model, inputs):
    """Action-free rows: whatever action stands in the row, the loss and its gradient stay the same."""
    known = torch.tensor([True, False, False])
    losses = []
    for stored in (inputs["action"], torch.cat([inputs["action"][:1], inputs["action"][1:] + 100])):
        torch.manual_seed(2)
        loss, _ = model.loss(inputs["obs"], stored, inputs["next_obs"], inputs["current"], action_known=known)
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1])


def test_the_future_tokens_of_an_ignored_future_are_the_config_s_choice(inputs):
    kept = wake(UnifiedWorldModel(dataclasses.replace(TINY, drop_ignored_future=False, condition_on_current=False)))
    _, future = sample(kept, inputs["obs"], predict=("action",), steps=2, next_obs_noise=inputs["next_obs"])
    assert torch.equal(future, inputs["next_obs"])  # held fixed, as published


def test_an_untrained_network_predicts_no_change():
    """adaLN-Zero with a residual future: before training, the imagined future is the present."""
    model = UnifiedWorldModel(TINY).eval()
    current = torch.randn(2, 2, 4, 8, 8)
    _, future = sample(model, torch.randn(2, 32), predict=("next_obs",), steps=2, current=current)
    assert torch.allclose(future, current[:, :, :, None].expand_as(future), atol=1e-5)


def test_patches_come_back_where_they_were():
    """Unpatchify inverts the patch order: token (v, t, h, w) fills its own corner."""
    patchifier = UnifiedWorldModel(TINY).noise_pred_net.obs_patchifier
    with torch.no_grad():
        patchifier.patch_decoder.weight.zero_()
        patchifier.patch_decoder.bias.zero_()
        patchifier.patch_decoder.weight[:, 0] = 1
    tokens = torch.zeros(1, TINY.future_tokens, TINY.dim)
    tokens[0, 5, 0] = 1  # view 1, time 0, row 0, column 1 of a 2 x 2 grid
    latents = patchifier.unpatchify(tokens).detach()
    assert float(latents[0, 1, :, :, :4, 4:].min()) == 1.0
    assert float(latents.sum()) == 4 * 2 * 4 * 4


def test_a_frame_is_read_in_every_view_and_beside_the_present(inputs):
    reader = wake(UnifiedWorldModel(READING)).frame_reader
    read = reader.read(inputs["next_obs"], inputs["current"])
    assert read.shape == (3, 2, READING.dim)
    for view in (0, 1):
        other = inputs["next_obs"].clone()
        other[:, view, :, 1] += 1
        changed = (reader.read(other, inputs["current"]) != read).any(dim=-1)  # (B, T)
        assert changed.tolist() == [[False, True]] * 3
    assert (reader.read(inputs["next_obs"], inputs["current"] + 1) != read).any(dim=-1).all()


def test_a_reader_is_asked_where_the_future_is_given_and_nowhere_else(inputs):
    """A model with a reader, and the same without: every other question has the same answer."""
    reading, plain = wake(UnifiedWorldModel(READING)), UnifiedWorldModel(TINY).eval()
    plain.load_state_dict(reading.state_dict(), strict=False)
    noise = {"action_noise": torch.randn(3, 12, 7), "next_obs_noise": torch.randn(3, 2, 4, 2, 8, 8)}
    given = {name: inputs[name] for name in ("action", "next_obs")}
    questions = [(("action",), ()), (("next_obs",), ()), (("next_obs",), ("action",)), (("action", "next_obs"), ())]
    for predict, told in [*questions, (("action",), ("next_obs",))]:
        ask = dict(predict=predict, steps=3, current=inputs["current"], **noise, **{name: given[name] for name in told})
        one, other = (sample(model, inputs["obs"], **ask) for model in (reading, plain))
        same = all(torch.equal(a, b) for a, b in zip(one, other, strict=True) if a is not None)
        assert same == (told != ("next_obs",)), (predict, told)


def test_a_reader_of_an_unknown_observation_does_not_see_it(inputs):
    """Rows that have seen nothing: whatever the observation was, their loss stays the same, the future given or not."""
    model, losses = wake(UnifiedWorldModel(READING)), []
    for seen in (1.0, 2.0):
        torch.manual_seed(3)
        rows = (seen * inputs["obs"], inputs["action"], inputs["next_obs"], seen * inputs["current"])
        losses.append(float(model.loss(*rows, obs_known=torch.zeros(3, dtype=torch.bool), edges=1.0)[0].detach()))
    assert losses[0] == pytest.approx(losses[1])


def test_actions_without_weight_are_not_learned_from(inputs, monkeypatch):
    model, weight = wake(UnifiedWorldModel(TINY)), torch.ones(12, 7)
    weight[:, 4] = 0
    last = torch.full((3,), 99)  # noise alone: the network is not shown what is added below
    monkeypatch.setattr(model, "draw_timesteps", lambda *_: (last, last))

    def loss(offset: float, weight: torch.Tensor | None) -> float:
        torch.manual_seed(4)
        action = inputs["action"].clone()
        action[:, :, 4] += offset
        return float(model.loss(inputs["obs"], action, action_weight=weight)[0].detach())

    assert loss(0, weight) == pytest.approx(loss(100, weight), rel=0.05)
    assert loss(100, None) > 100 * loss(0, None)


def test_a_reader_that_would_not_see_the_present_is_refused():
    with pytest.raises(ValueError, match="reader_width must be 0 without condition_on_current, got 8"):
        dataclasses.replace(READING, condition_on_current=False)


def test_the_schedule_is_the_published_one():
    scheduler = UnifiedWorldModel(TINY).scheduler
    assert isinstance(scheduler, DDIMScheduler)
    expected = {0: 0.999369, 50: 0.47826, 90: 0.0195444, 99: 2.4286e-7}
    for t, alpha in expected.items():
        assert float(scheduler.alphas_cumprod[t]) == pytest.approx(alpha, rel=2e-3)


@pytest.mark.parametrize("config", [TINY, READING], ids=["plain", "frame reader"])
def test_gradients_reach_every_weight(config):
    torch.manual_seed(0)
    model = wake(UnifiedWorldModel(config)).train()
    obs = model.encode(torch.rand(4, 2, 1, 3, 32, 32), torch.randn(4, 1, 7), torch.randint(1, 64, (4, 16)))
    rows = (torch.randn(4, 12, 7), torch.randn(4, 2, 4, 2, 8, 8), torch.randn(4, 2, 4, 8, 8))
    action, future = model.loss(obs, *rows, obs_known=torch.tensor([True, True, True, False]))
    if config.reader_width:  # chance seldom gives a row its future
        action = action + model.told(obs, *rows[1:]).square().sum()
    (action + future).backward()
    learned = {name: p for name, p in model.named_parameters() if not name.startswith("obs_encoder.vae.")}
    assert [name for name, p in learned.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_what_was_not_seen_changes_nothing(inputs):
    """A row that has seen nothing answers the same whatever its observation was; p(o') asks just that."""
    model = wake(UnifiedWorldModel(TINY))
    noise = torch.randn(2, 2, 4, 2, 8, 8)
    _, nothing = sample(model, None, predict=("next_obs",), steps=3, batch=2, next_obs_noise=noise)
    assert nothing.shape == noise.shape and not torch.allclose(nothing[0], nothing[1], atol=1e-3)
    losses = []
    for scale in (1, 100):
        torch.manual_seed(3)
        losses.append(
            model.loss(
                scale * inputs["obs"],
                inputs["action"],
                inputs["next_obs"],
                scale * inputs["current"],
                obs_known=torch.zeros(3, dtype=torch.bool),
            )[1]
        )
    assert torch.equal(*losses)


def test_nothing_cannot_be_asked_of_a_model_that_was_never_blind():
    model = UnifiedWorldModel(dataclasses.replace(TINY, null_observation=False))
    with pytest.raises(ValueError, match="null_observation"):
        sample(model, None, predict=("next_obs",), steps=2, batch=2)


def test_timesteps_on_the_edges():
    model, last = UnifiedWorldModel(TINY), TINY.train_timesteps - 1
    torch.manual_seed(0)
    action_t, next_obs_t = model.draw_timesteps(4000, 0.0, torch.device("cpu"))
    assert abs(float(action_t.float().mean()) - last / 2) < 2 and 0.005 < float((action_t == 0).float().mean()) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([action_t, next_obs_t]).float())[0, 1])) < 0.05  # independent
    action_t, next_obs_t = model.draw_timesteps(4000, 1.0, torch.device("cpu"))
    on_edge = (action_t == 0) | (next_obs_t == 0) | (action_t == last)
    assert bool(on_edge.all())
    for edge in (action_t == 0, next_obs_t == 0, action_t == last):
        assert 0.25 < float(edge.float().mean()) < 0.45


def test_a_batch_of_answers_to_one_question(model, inputs):
    generator = torch.Generator().manual_seed(0)
    ask = dict(predict=("action",), steps=3, batch=5, generator=generator)
    first, _ = sample(model, inputs["obs"][:1], **ask)
    assert first.shape == (5, 12, 7) and not torch.allclose(first[0], first[1], atol=1e-4)
    generator.manual_seed(0)
    again, _ = sample(model, inputs["obs"][:1], **ask)
    assert torch.equal(first, again)
    with pytest.raises(ValueError, match="batch is 5, so the observation must have 1 row, got 3"):
        sample(model, inputs["obs"], **ask)


@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
def test_both_solvers_find_a_known_answer(prediction):
    """A network that knows the clean action: whatever the solver and the number of steps, it is found."""
    config = dataclasses.replace(TINY, prediction=prediction, spacing="leading")
    model, target = UnifiedWorldModel(config), torch.linspace(-0.9, 0.9, 84).view(1, 12, 7)

    def oracle(obs, action, next_obs, action_t, next_obs_t, current):
        alpha = model.scheduler.alphas_cumprod[action_t].view(-1, 1, 1)
        return (target if prediction == "sample" else (action - alpha.sqrt() * target) / (1 - alpha).sqrt()), None

    model.noise_pred_net.forward = oracle
    for solver in ("ddim", "dpmsolver++"):
        for steps in (4, 10):
            found, _ = sample(model, torch.zeros(2, 32), predict=("action",), steps=steps, solver=solver)
            assert torch.allclose(found, target.expand_as(found), atol=2e-2), (solver, steps)


def test_a_multistep_solver_comes_closer_in_few_steps(model, inputs):
    """Against many steps of DDIM as the truth of the same network and noise."""
    ask = dict(predict=("action",), action_noise=torch.randn(3, 12, 7, generator=torch.Generator().manual_seed(5)))
    truth, _ = sample(model, inputs["obs"], steps=100, **ask)
    error = {
        solver: float((sample(model, inputs["obs"], steps=8, solver=solver, **ask)[0] - truth).abs().mean())
        for solver in ("ddim", "dpmsolver++")
    }
    assert error["dpmsolver++"] < 0.05 * float(truth.abs().mean()) + error["ddim"]


@pytest.mark.parametrize(("preset", "millions"), [("tabletop", 3), ("libero", 297.6), ("droid", 384.9)])
def test_presets_have_their_published_sizes(preset, millions):
    with torch.device("meta"):
        model = UnifiedWorldModel(PRESETS[preset])
    count = sum(p.numel() for p in model.noise_pred_net.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.15 if preset == "tabletop" else 1e-3)


def test_proprioception_and_language_are_options():
    encoder = ResNetEncoderConfig(8, 2, (40, 40), (32, 32), state_dim=3, language=True)
    config = dataclasses.replace(TINY, encoder=encoder, latent_size=8, null_observation=False)
    model = UnifiedWorldModel(config).eval()
    images, tokens = torch.rand(2, 2, 2, 3, 50, 50), torch.tensor([[49406, 320, 49407], [49406, 518, 49407]])
    states = torch.randn(2, 2, 3)
    with torch.no_grad():
        one, other = model.encode(images, states, tokens), model.encode(images, 2 * states, tokens.flip(0))
    assert one.shape == (2, config.obs_features) == (2, 2 * 2 * 8 + 2 * 3 + 8)
    same = (one == other).all(dim=0)
    assert same[:32].all() and not same[32:].any()  # the images' part, then states and text
    with pytest.raises(ValueError, match="pass `state`"):
        model.encode(images, None, tokens)
