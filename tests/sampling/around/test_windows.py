"""Context windows: every frame is covered, and a window is a clip of its own to the model."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from animatediff.sampling.animator import Animator
from animatediff.sampling.around.windows import Window, over_windows, plan_windows, pyramid
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle


@settings(deadline=None)
@given(num_frames=st.integers(1, 300), length=st.integers(2, 40), overlap=st.integers(0, 39))
def test_windows_cover_every_frame(num_frames: int, length: int, overlap: int) -> None:
    overlap = min(overlap, length - 1)
    windows = plan_windows(num_frames, length=length, overlap=overlap)
    size = min(length, num_frames)
    assert {frame for window in windows for frame in window.frames} == set(range(num_frames))
    assert all(len(window.frames) == len(window.weights) == size for window in windows)
    assert all(weight > 0 for window in windows for weight in window.weights)
    starts = [window.frames.start for window in windows]
    assert starts == sorted(set(starts))
    steps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(step == length - overlap for step in steps[:-1])
    assert all(step <= length - overlap for step in steps)


def test_the_last_window_is_moved_back_to_end_with_the_clip() -> None:
    windows = plan_windows(48, length=16, overlap=4)
    assert [window.frames.start for window in windows] == [0, 12, 24, 32]
    assert windows[-1].frames.stop == 48
    assert plan_windows(16, length=16, overlap=4) == (Window(range(16), pyramid(16)),)
    assert len(plan_windows(28, length=16, overlap=4)) == 2


def test_weights_are_a_pyramid() -> None:
    assert pyramid(6) == (1, 2, 3, 3, 2, 1)
    assert pyramid(5) == (1, 2, 3, 2, 1)


def ask_of(num_frames: int) -> Ask:
    latents = torch.randn(1, 4, num_frames, 2, 2, generator=torch.Generator().manual_seed(0))
    return Ask(latents, torch.tensor(500), 0, WITH_PROMPT, torch.arange(num_frames))


def test_a_prediction_of_each_frame_by_itself_is_the_same_in_windows() -> None:
    def of_each_frame(ask: Ask) -> Tensor:
        return ask.latents.sin() + ask.frames[:, None, None]

    ask = ask_of(21)
    for windows in (plan_windows(21, length=8, overlap=3), plan_windows(21, length=4, overlap=1)):
        made = over_windows(of_each_frame, windows=windows)(ask)
        assert torch.allclose(made, of_each_frame(ask), atol=1e-5)


def test_where_windows_overlap_predictions_are_averaged_by_their_weights() -> None:
    numbers = iter([1.0, 4.0])
    windows = plan_windows(6, length=4, overlap=2)
    made = over_windows(lambda ask: torch.full_like(ask.latents, next(numbers)), windows=windows)(
        ask_of(6)
    )
    # Frames 2 and 3 are the last two of the first window and the first two of the second.
    expected = [1, 1, (2 * 1 + 1 * 4) / 3, (1 * 1 + 2 * 4) / 3, 4, 4]
    assert torch.allclose(made[0, 0, :, 0, 0], torch.tensor(expected))


def test_one_window_is_the_prediction_itself() -> None:
    def predict(ask: Ask) -> Tensor:
        return ask.latents

    assert over_windows(predict, windows=plan_windows(16, length=16, overlap=4)) is predict


def test_windows_come_by_themselves_and_only_where_positions_end(
    animator: Animator, request_of: AnimationRequest, tiny_world: Path
) -> None:
    def windows(frames: int, maker: Animator = animator) -> int:
        motion = maker.loaded.motion
        asked = replace(request_of, num_frames=frames, motion=motion)
        return len(settle(asked, maker.model).windows)

    assert [windows(frames) for frames in (1, 16, 17, 48)] == [1, 1, 2, 4]
    assert windows(48, Animator.load(str(tiny_world), motion="none")) == 1


@pytest.fixture
def long(request_of: AnimationRequest) -> AnimationRequest:
    return replace(request_of, num_frames=20, steps=1, guidance=1.0, scheduler="ddim")


def test_a_window_is_predicted_as_the_clip_it_is(
    animator: Animator, long: AnimationRequest
) -> None:
    """Frames that only the first window holds are those of a clip that ends with it."""
    made = animator.animate(long)
    alone = animator.animate(replace(long, num_frames=16))
    assert torch.equal(made.latents[:, :, :4], alone.latents[:, :, :4])
    assert not torch.equal(made.latents[:, :, 4:16], alone.latents[:, :, 4:16])
    assert [note for note in made.report.notes if "2 windows of 16 frames" in note]
    assert not [note for note in alone.report.notes if "windows" in note]


def test_a_window_has_the_text_of_its_own_frames(
    animator: Animator, long: AnimationRequest
) -> None:
    """Frames that the last window alone holds do not know of a keyframe that it does not hold."""
    prompts = {"0": "a fox", "4": "an ox", "19": "an ox"}
    other = {"0": "a hare", "4": "an ox", "19": "an ox"}
    first, second = (
        animator.animate(replace(long, prompt="", prompts=texts, guidance=3.0)).latents
        for texts in (prompts, other)
    )
    assert torch.equal(first[:, :, 16:], second[:, :, 16:])
    assert not torch.equal(first[:, :, :4], second[:, :, :4])


def test_memory_does_not_grow_with_the_clip(animator: Animator, long: AnimationRequest) -> None:
    given: list[int] = []
    hook = animator.base.unet.conv_in.register_forward_pre_hook(
        lambda module, inputs: given.append(len(inputs[0]))
    )
    animator.animate(replace(long, num_frames=48, guidance=3.0))
    hook.remove()
    assert given == [2 * 16] * 4
