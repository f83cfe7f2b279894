"""Text2Video-Zero: equal to diffusers' deprecated pipeline, and its parts as the paper has them."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tests.tiny_models import WIDTH, new_unet

from animatediff.errors import Cancelled, InputError
from animatediff.evaluation.baselines.text2video_zero import (
    ZeroOptions,
    chunks,
    drawn_foreground,
    shifted,
    smoothed,
    text2video_zero,
)

NOISE: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def unet_and_states():
    torch.manual_seed(0)
    unet = new_unet().requires_grad_(False).eval()
    return unet, torch.randn(2, 7, WIDTH)


def video(
    unet: UNet2DConditionModel,
    states: torch.Tensor,
    *,
    num_frames: int = 4,
    size: tuple[int, int] = (8, 8),
    **more: Any,
):
    return text2video_zero(
        unet,
        states=states,
        scheduler_config=NOISE,
        num_frames=num_frames,
        size=size,
        seed=3,
        **more,
    )


@pytest.fixture(scope="module")
def pipeline():
    from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
        CrossFrameAttnProcessor2_0,
        TextToVideoZeroPipeline,
    )

    unet, states = unet_and_states()
    scheduler = DDIMScheduler(**NOISE, steps_offset=1, set_alpha_to_one=False, clip_sample=False)
    made = TextToVideoZeroPipeline.__new__(TextToVideoZeroPipeline)
    made.unet, made.scheduler = unet, scheduler
    theirs: Any = CrossFrameAttnProcessor2_0(batch_size=2)
    unet.set_attn_processor(theirs)
    return made, states


def test_the_result_equals_diffusers_deprecated_pipeline(pipeline: tuple[Any, torch.Tensor]):
    """Its three loops are called as its ``__call__`` does; the pipeline itself needs a tokenizer."""
    from diffusers.pipelines.deprecated.text_to_video_synthesis import (
        pipeline_text_to_video_zero as theirs,
    )

    made, states = pipeline
    generator = torch.Generator().manual_seed(3)
    made.scheduler.set_timesteps(50)
    times = made.scheduler.timesteps
    kwargs = {"guidance_scale": 7.5, "callback": None, "callback_steps": 1}
    kwargs |= {"extra_step_kwargs": {}, "num_warmup_steps": 0}
    made.set_progress_bar_config(disable=True)
    frames = [0, 1, 2, 3]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.meshgrid without indexing
        noise = torch.randn(1, 4, 8, 8, generator=generator)
        t1 = made.backward_loop(noise, times[:-48], states, **kwargs)
        t0 = made.backward_loop(t1, times[-48:-45], states, **kwargs)
        moved = theirs.create_motion_field_and_warp_latents(12, 12, frames, t0.repeat(4, 1, 1, 1))
        noised = made.forward_loop(moved, int(times[-45]), int(times[-48]), generator)
        text = states[:, None].repeat(1, 5, 1, 1).reshape(10, *states.shape[1:])
        expected = made.backward_loop(torch.cat([t1, noised]), times[-48:], text, **kwargs)[1:]
    unet, _ = unet_and_states()
    got = video(unet, states)
    torch.testing.assert_close(got[0].transpose(0, 1), expected, atol=1e-4, rtol=1e-4)


def test_latents_move_with_the_flow():
    latents = torch.randn(3, 4, 64, 64)
    moved = shifted(latents, [0, 1, 2], flow=(16.0, 0.0))  # two latent pixels of 64 a frame
    assert torch.equal(moved[0], latents[0])
    assert torch.equal(moved[1][..., :-2], latents[1][..., 2:])
    assert torch.equal(moved[2][..., :-4], latents[2][..., 4:])


@pytest.mark.parametrize("num_frames", [1, 7, 8, 16])
def test_chunks_show_every_frame_once(num_frames: int):
    shown = [frame for chunk in chunks(num_frames, size=8) for frame in chunk]
    assert shown == list(range(num_frames))
    assert max(len(chunk) for chunk in chunks(num_frames, size=8)) <= 7


def test_frames_of_a_later_chunk_have_the_same_anchor():
    """With neither flow nor attention to the anchor, the same place in a chunk is the same frame."""
    unet, states = unet_and_states()
    options = ZeroOptions(steps=6, t0=2, t1=4, chunk=3, motion_field=False, cross_frame=False)
    got = video(unet, states, num_frames=4, options=options)
    torch.testing.assert_close(got[:, :, :2], got[:, :, 2:])
    assert not torch.allclose(got[:, :, 0], got[:, :, 1])


def test_attention_to_the_anchor_changes_frames_and_is_taken_off_again():
    unet, states = unet_and_states()
    before = dict(unet.attn_processors)
    options = ZeroOptions(steps=6, t0=2, t1=4)
    read = video(unet, states, options=options)
    plain = video(unet, states, options=ZeroOptions(steps=6, t0=2, t1=4, cross_frame=False))
    assert (read - plain).abs().max() > 1e-3
    assert unet.attn_processors == before


def test_smoothing_leaves_a_foreground_everywhere_as_it_is():
    unet, states = unet_and_states()
    options = ZeroOptions(steps=6, t0=2, t1=4)
    plain = video(unet, states, options=options)
    for value, same in ((1.0, True), (0.0, False)):
        smooth = video(
            unet,
            states,
            options=options,
            foreground=lambda clean, _, value=value: torch.full(
                (len(clean), *clean.shape[2:]), value
            ),
        )
        assert torch.allclose(smooth, plain, atol=1e-5) is same


def test_smoothing_mixes_what_is_background_in_both_as_published():
    """Eq. 10, written out for each position, with masks that are partly foreground."""
    flow = (64.0, 0.0)
    latents = torch.randn(3, 4, 12, 12, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(3, 12, 12)
    masks[0, 5, 3] = masks[1, 2, 9] = masks[2, 8, 8] = 1.0
    masks[2, 0, 0] = 0.5
    smooth = smoothed(latents, (1, 2), foreground=masks, flow=flow, share=0.3)
    assert torch.equal(smooth[0], latents[0])

    def wide(mask: torch.Tensor, y: int, x: int) -> float:
        return float(mask[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].max())

    counts = {"kept": 0, "mixed": 0, "between": 0}
    for row, frame in ((1, 1), (2, 2)):
        anchor = shifted(latents[:1], (frame,), flow=flow)[0]
        # The dilated mask of the anchor, moved like its latents.
        first = torch.tensor([[wide(masks[0], y, x) for x in range(12)] for y in range(12)])
        moved = shifted(first[None, None], (frame,), flow=flow)[0, 0]
        for y in range(12):
            for x in range(12):
                background = (1 - wide(masks[row], y, x)) * (1 - float(moved[y, x]))
                own = latents[row, :, y, x]
                mixed = 0.3 * own + 0.7 * anchor[:, y, x]
                expected = (1 - background) * own + background * mixed
                torch.testing.assert_close(smooth[row, :, y, x], expected)
                kind = {0.0: "kept", 1.0: "mixed"}.get(background, "between")
                counts[kind] += 1
    assert all(counts.values())


def test_one_mask_moves_with_the_flow_and_several_are_those_of_their_frames():
    masks = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    clean = torch.zeros(3, 4, 8, 8)
    several = drawn_foreground(masks, flow=(64.0, 0.0))(clean, (0, 2, 4))
    assert torch.equal(several, masks[[0, 2, 4]])
    one = drawn_foreground(masks[:1], flow=(64.0, 0.0))(clean, (0, 1, 2))
    assert torch.equal(one[0], masks[0])
    # 64 of 512 pixels are one of eight columns.
    assert torch.equal(one[1, :, :-1], masks[0, :, 1:])
    assert torch.equal(one[2, :, :-2], masks[0, :, 2:])


@pytest.mark.parametrize(("steps", "levels"), [(50, (44, 47)), (25, (22, 24)), (2, (0, 1))])
def test_noise_levels_scale_with_the_steps(steps: int, levels: tuple[int, int]):
    options = ZeroOptions.of_steps(steps).validated()
    assert (options.t0, options.t1) == levels


def test_one_step_has_no_two_noise_levels():
    with pytest.raises(InputError, match="1 DDIM steps have no two noise levels"):
        ZeroOptions.of_steps(1)


def test_the_same_seed_gives_the_same_video():
    unet, states = unet_and_states()
    options = ZeroOptions(steps=6, t0=2, t1=4)
    np.testing.assert_array_equal(
        video(unet, states, options=options), video(unet, states, options=options)
    )


@pytest.mark.parametrize(
    "options", [ZeroOptions(t0=47, t1=44), ZeroOptions(steps=20), ZeroOptions(chunk=1)]
)
def test_options_that_cannot_be_used_are_refused(options: ZeroOptions):
    unet, states = unet_and_states()
    with pytest.raises(InputError, match=r"44 and 47|2 or more"):
        video(unet, states, options=options)


def test_it_can_be_cancelled_and_leaves_the_model_as_it_was():
    unet, states = unet_and_states()
    before = dict(unet.attn_processors)
    left = iter(range(5))
    with pytest.raises(Cancelled):
        video(
            unet,
            states,
            options=ZeroOptions(steps=6, t0=2, t1=4),
            should_stop=lambda: next(left, None) is None,
        )
    assert unet.attn_processors == before
