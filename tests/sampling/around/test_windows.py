"""Context windows: every frame is covered, and a window is a clip of its own to the model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.windows import over_windows
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.windows.loop_start import may_begin_anywhere
from animatediff.sampling.windows.plan import WindowPlan


def ask_of(num_frames: int) -> Ask:
    latents = torch.randn(1, 4, num_frames, 2, 2, generator=torch.Generator().manual_seed(0))
    return Ask(latents, torch.tensor(500), 0, WITH_PROMPT, torch.arange(num_frames))


def test_a_prediction_of_each_frame_by_itself_is_the_same_in_windows() -> None:
    def of_each_frame(ask: Ask) -> Tensor:
        return ask.latents.sin() + ask.frames[:, None, None]

    ask = ask_of(21)
    for plan in (
        WindowPlan(21, length=8, overlap=3),
        WindowPlan(21, length=4, overlap=1),
        WindowPlan(21, length=8, overlap=3, schedule="uniform", stride=2, weights="flat"),
        WindowPlan(21, length=8, overlap=3, schedule="looped", weights="overlap-linear"),
    ):
        for step in range(4):
            ask = replace(ask, step=step)
            made = over_windows(of_each_frame, plan=plan)(ask)
            assert torch.allclose(made, of_each_frame(ask), atol=1e-5)


def test_where_windows_overlap_predictions_are_averaged_by_their_weights() -> None:
    numbers = iter([1.0, 4.0])
    plan = WindowPlan(6, length=4, overlap=2)
    made = over_windows(lambda ask: torch.full_like(ask.latents, next(numbers)), plan=plan)(
        ask_of(6)
    )
    # Frames 2 and 3 are the last two of the first window and the first two of the second.
    expected = [1, 1, (2 * 1 + 1 * 4) / 3, (1 * 1 + 2 * 4) / 3, 4, 4]
    assert torch.allclose(made[0, 0, :, 0, 0], torch.tensor(expected))


def test_one_window_is_the_prediction_itself() -> None:
    def predict(ask: Ask) -> Tensor:
        return ask.latents

    assert over_windows(predict, plan=WindowPlan(16, length=16, overlap=4)) is predict


def test_windows_come_by_themselves_and_only_where_positions_end(
    animator: Animator, request_of: AnimationRequest, tiny_world: Path
) -> None:
    def windows(frames: int, maker: Animator = animator) -> int:
        motion = maker.loaded.motion
        asked = replace(request_of, num_frames=frames, motion=motion, windows_in="model")
        return len(settle(asked, maker.model).windows.at(0))

    assert [windows(frames) for frames in (1, 16, 17, 48)] == [1, 1, 2, 5]
    assert windows(48, Animator.load(str(tiny_world), motion="none")) == 1


@pytest.fixture
def long(request_of: AnimationRequest) -> AnimationRequest:
    """A clip of two windows around the model."""
    asked = replace(request_of, windows_in="model")
    return replace(asked, num_frames=20, steps=1, guidance=1.0, scheduler="ddim")


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


@pytest.mark.usefixtures("latents_only")
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
    assert given == [2 * 16] * 5


def test_a_loop_has_no_first_frame(animator: Animator, long: AnimationRequest) -> None:
    """Noise that is rolled by half the clip gives the same loop, rolled: no place is the end."""
    plan = WindowPlan(16, length=16, overlap=4, schedule="looped")
    rolled = [plan.at(step) for step in range(2)]
    assert all(len(windows) == 2 for windows in rolled)
    assert rolled[0][0].frames == tuple(range(16))
    assert rolled[1][0].frames == (*range(8, 16), *range(8))
    made = animator.animate(replace(long, num_frames=16, steps=2, loop=True))
    plain = animator.animate(replace(long, num_frames=16, steps=2))
    assert not torch.equal(made.latents, plain.latents)


def test_a_loop_begins_at_its_calmest_moment(animator: Animator, long: AnimationRequest) -> None:
    loop = replace(long, num_frames=10, steps=2, loop=True)
    made = animator.animate(loop)
    around = np.concatenate([made.frames, made.frames[:1]]).astype(np.int16)
    changes = np.abs(np.diff(around, axis=0)).mean((1, 2, 3))
    assert changes[-1] == changes.min() <= np.median(changes[:-1])
    # With keyframes, frames stay where their numbers say.
    tied = animator.animate(replace(loop, prompts={"0": ""}))
    begins = int(re.findall(r"loop begins at frame (\d+)", " ".join(made.report.notes))[0])
    assert begins > 0
    assert (made.frames == np.roll(tied.frames, -begins, axis=0)).all()
    assert torch.equal(made.latents, tied.latents.roll(-begins, dims=2))
    assert not [note for note in tied.report.notes if "loop begins" in note]


@pytest.mark.parametrize(
    "tied",
    [
        {"prompts": {"0": "a fox"}},
        {"image": "a.png"},
        {"init": "a.mp4"},
        {"motion_scale": ("frames (0=1, 5=2)",)},
        {"camera_path": "pan-left"},
        {"pingpong": True},
        {"loop": False},
    ],
    ids=str,
)
def test_a_loop_with_places_begins_at_frame_0(tied: dict[str, Any]) -> None:
    loop = AnimationRequest("a fox", loop=True, motion_scale=("1.2",))
    assert may_begin_anywhere(loop)
    assert not may_begin_anywhere(replace(loop, **tied))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"loop": True, "window_schedule": "static"}, "leave one of them out"),
        ({"window_length": 4, "window_overlap": 4}, "at most 3"),
        ({"window_changes": ("0.5: length=4, overlap=4",)}, "at most 3"),
        ({"window_changes": ("0.5: uniform", "0.4: static")}, "in the order of the steps"),
        ({"loop": True, "window_changes": ("0.5: uniform",)}, "opens the loop"),
        ({"window_changes": ("0.5: circular",)}, "neither a schedule"),
        ({"window_changes": ("0.5: length=1",)}, "neither a schedule"),
        ({"window_changes": ("uniform",)}, "is no window change"),
        ({"window_changes": ("1.5: uniform",)}, "is no window change"),
        ({"window_changes": ("0.5:",)}, "is no window change"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    animator: Animator, long: AnimationRequest, more: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        animator.animate(replace(long, **more))


def test_a_loop_without_motion_is_refused(tiny_world: Path, request_of: AnimationRequest) -> None:
    still = Animator.load(str(tiny_world), motion="none")
    asked = replace(request_of, model=str(tiny_world), motion="none", loop=True, num_frames=4)
    with pytest.raises(InputError, match="--motion"):
        still.animate(asked)


def test_windows_may_be_chosen_for_a_clip_that_needs_none(
    animator: Animator, long: AnimationRequest
) -> None:
    chosen = replace(long, num_frames=12, window_length=8, window_overlap=2)
    plan = settle(chosen, animator.model).windows
    assert [window.frames[0] for window in plan.at(0)] == [0, 4]


def test_windows_change_during_the_steps(animator: Animator, long: AnimationRequest) -> None:
    changed = replace(
        long,
        steps=4,
        window_changes=("0.25: uniform, overlap=8", "0.6: weights=flat, length=10, overlap=2"),
    )
    plan = settle(changed, animator.model).windows
    assert [len(window.frames) for window in plan.at(0)] == [16, 16]
    assert plan.at(1) == WindowPlan(20, 16, 8, "uniform").at(1)
    assert plan.at(2) == WindowPlan(20, 16, 8, "uniform").at(2)
    assert plan.at(3) == WindowPlan(20, 10, 2, "uniform", weights="flat").at(3)
    assert plan.longest == 16
    made = animator.animate(changed)
    alike = animator.animate(replace(long, steps=4))
    assert not torch.equal(made.latents, alike.latents)
    assert [note for note in made.report.notes if note.startswith("From step 2 on")]
    assert AnimationRequest.from_json(made.request.to_json()) == made.request


def test_a_clip_of_one_window_may_be_parted_later(
    animator: Animator, long: AnimationRequest
) -> None:
    given: list[int] = []
    hook = animator.base.unet.conv_in.register_forward_pre_hook(
        lambda module, inputs: given.append(len(inputs[0]))
    )
    parted = replace(long, num_frames=12, steps=2, window_changes=("0.5: length=8, overlap=4",))
    animator.animate(parted)
    hook.remove()
    assert given == [12, 8, 8]


def test_the_frames_are_played_as_asked(animator: Animator, long: AnimationRequest) -> None:
    short = replace(long, num_frames=4)
    plain = animator.animate(short).video
    back = animator.animate(replace(short, pingpong=True)).video
    assert back.num_frames == 6
    assert (back.frames[:4] == plain.frames).all()
    assert (back.frames[4:] == plain.frames[[2, 1]]).all()
    more = animator.animate(replace(short, interpolate=2)).video
    assert (more.num_frames, more.fps) == (7, 2 * plain.fps)
    assert (more.frames[::2] == plain.frames).all()
    closed = animator.animate(replace(short, interpolate=2, loop=True)).video
    assert closed.num_frames == 8
