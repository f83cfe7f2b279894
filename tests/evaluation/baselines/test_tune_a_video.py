"""Tune-A-Video: what it reads, what learns, that it is undone, and that it learns its video."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.tiny_models import WIDTH, new_unet

from animatediff.errors import Cancelled
from animatediff.evaluation.baselines import tune_a_video
from animatediff.evaluation.baselines.ddim import ddim, inverted
from animatediff.evaluation.baselines.frame_attention import first_and_previous
from animatediff.evaluation.baselines.tune_a_video import (
    TRAINING,
    InflatedUNet,
    edit,
    invert,
    transformer_blocks,
    tune,
)

NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FRAMES = 3


def unet():
    torch.manual_seed(0)
    return new_unet().eval()


def clip_and_states():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, FRAMES, 8, 8, generator=generator)
    return latents, torch.randn(2, 7, WIDTH, generator=generator)


def test_frames_read_the_first_and_the_previous_frame():
    tokens = torch.arange(4.0).reshape(1, 4, 1, 1)
    read = first_and_previous(tokens)
    assert read[0, :, :, 0].tolist() == [[0, 0], [0, 0], [0, 1], [0, 2]]


def test_exactly_the_published_set_learns():
    inflated = InflatedUNet(unet())
    learning = {name for name, p in inflated.unet.named_parameters() if p.requires_grad}
    blocks = dict(transformer_blocks(inflated.unet))
    assert learning == {
        f"{name}.{attention}.to_q.weight" for name in blocks for attention in ("attn1", "attn2")
    }
    temporal = [name for name in inflated.learns if name.endswith("attn_temp")]
    assert len(temporal) == len(blocks)
    assert not any("norm" in name for name, _ in inflated.learns.named_parameters())


def test_the_temporal_attention_starts_as_published():
    """A zero weight and a bias that is not zero, so that it is not the identity at first."""
    inflated = InflatedUNet(unet())
    for name, layer in inflated.learns.items():
        if name.endswith("attn_temp"):
            assert (layer.to_out[0].weight == 0).all()
            assert (layer.to_out[0].bias != 0).any()


def test_the_temporal_attention_equals_attention_written_out():
    inflated = InflatedUNet(unet())
    graft = next(iter(inflated._grafts.values()))
    branch = graft.branch
    torch.nn.init.normal_(branch.attn_temp.to_out[0].weight)
    inflated.clip.num_frames = FRAMES
    tokens = torch.randn(2 * FRAMES, 5, branch.norm_temp.normalized_shape[0])
    with torch.inference_mode():
        got = branch(tokens, tokens)
        attn, normed = branch.attn_temp, branch.norm_temp(tokens)
        expected = torch.empty_like(tokens)
        for clip in range(2):
            for position in range(5):
                course = normed[clip * FRAMES : (clip + 1) * FRAMES, position]
                q, k, v = (
                    layer(course).reshape(FRAMES, attn.heads, -1).transpose(0, 1)
                    for layer in (attn.to_q, attn.to_k, attn.to_v)
                )
                scores = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
                gathered = attn.to_out[0](scores.transpose(0, 1).reshape(FRAMES, -1))
                expected[clip * FRAMES : (clip + 1) * FRAMES, position] = gathered
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_removal_restores_the_image_model_bit_for_bit(tmp_path):
    latents, states = clip_and_states()
    model = unet()
    picture, time = latents[:, :, 0], torch.tensor(500)
    with torch.inference_mode():
        before = model(picture, time, states[:1]).sample
    inflated = InflatedUNet(model)
    options = replace(TRAINING, steps=2, learning_rate=1e-2)
    tune(
        inflated,
        latents,
        states=states[1:],
        scheduler_config=NOISE,
        folder=tmp_path,
        options=options,
    )
    inflated.clip.num_frames = 1
    with torch.inference_mode():
        assert not torch.equal(model(picture, time, states[:1]).sample, before)
        inflated.remove()
        assert torch.equal(model(picture, time, states[:1]).sample, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_large_video_is_tuned_in_less_memory_to_the_same_weights(tmp_path, monkeypatch):
    latents, states = clip_and_states()
    learned = []
    for above in (10_000, 0):
        monkeypatch.setattr(tune_a_video, "CHECKPOINTED_ABOVE", above)
        model = unet()
        inflated = InflatedUNet(model)
        tune(
            inflated,
            latents,
            states=states[1:],
            scheduler_config=NOISE,
            folder=tmp_path / str(above),
            options=replace(TRAINING, steps=2, learning_rate=1e-2),
        )
        assert not model.is_gradient_checkpointing
        learned.append({name: p.detach() for name, p in inflated.learns.named_parameters()})
    for name, weights in learned[0].items():
        torch.testing.assert_close(learned[1][name], weights, atol=1e-5, rtol=1e-4)


def test_tuning_lowers_the_error_on_its_video(tmp_path):
    latents, states = clip_and_states()
    inflated = InflatedUNet(unet())

    def error() -> float:
        generator = torch.Generator().manual_seed(5)
        total = 0.0
        for step in (100, 400, 700):
            noise = torch.randn(latents.shape, generator=generator)
            kept = ddim(NOISE).alphas_cumprod[step]
            noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
            with torch.inference_mode():
                total += float(F.mse_loss(inflated(noisy, torch.tensor([step]), states[1:]), noise))
        return total

    before = error()
    options = replace(TRAINING, steps=60, learning_rate=3e-3)
    tune(
        inflated,
        latents,
        states=states[1:],
        scheduler_config=NOISE,
        folder=tmp_path,
        options=options,
    )
    assert error() < 0.95 * before


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_inversion_leads_back_to_the_video(prediction):
    """With a prediction that does not depend on the latents, DDIM and its inversion are exact."""
    scheduler = ddim({**NOISE, "prediction_type": prediction})
    scheduler.set_timesteps(50)
    latents, _ = clip_and_states()
    noise = torch.randn_like(latents)

    def predict(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        if prediction == "epsilon":
            return noise
        kept = scheduler.alphas_cumprod[int(time)]
        return (noise - (1 - kept).sqrt() * x) / kept.sqrt()  # the velocity of this noise

    back = inverted(latents, scheduler, predict)
    assert (back - latents).abs().max() > 0.5
    for time in scheduler.timesteps:
        back = scheduler.step(predict(back, time), int(time), back, return_dict=False)[0]
    torch.testing.assert_close(back, latents, atol=1e-3, rtol=1e-3)


def test_an_edit_is_repeatable_differs_by_prompt_and_can_be_cancelled():
    latents, states = clip_and_states()
    inflated = InflatedUNet(unet())
    noise = invert(inflated, latents, empty=states[:1], scheduler_config=NOISE, steps=4)
    assert noise.shape == latents.shape

    def drawn(text, **more):
        return edit(inflated, noise, states=text, scheduler_config=NOISE, steps=4, **more)

    assert torch.equal(drawn(states), drawn(states))
    assert not torch.equal(drawn(states), drawn(states.flip(0)))
    with pytest.raises(Cancelled):
        drawn(states, should_stop=lambda: True)
