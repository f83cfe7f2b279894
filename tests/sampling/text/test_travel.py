"""A prompt that changes over the frames: each frame attends to what its keyframes say."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.metadata import describe
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.text.conditions import read_texts
from animatediff.sampling.text.prompts import Conditioning
from animatediff.sampling.text.travel import Blend, plan_travel, travelled
from animatediff.video import read_metadata


@pytest.fixture
def travelling(request_of: AnimationRequest) -> AnimationRequest:
    """Four frames, the first and the last of which are keyframes below."""
    return replace(request_of, num_frames=4)


def shares(*positions: int, num_frames: int = 8, **options: float) -> list[float]:
    """Where each frame is, in keyframes: 0.25 is a quarter of the way from the first to the next."""
    blends = plan_travel([Fraction(p) for p in positions], num_frames=num_frames, **options)
    return [blend.before + float(blend.share) for blend in blends]


def test_frames_go_evenly_from_one_keyframe_to_the_next_and_stay_at_the_last() -> None:
    assert shares(1, 5) == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_in_a_closed_loop_the_last_keyframe_leads_back_to_the_first() -> None:
    assert shares(0, 4, closed_loop=True) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert shares(2, 6, closed_loop=True) == [1.5, 1.75, 0, 0.25, 0.5, 0.75, 1, 1.25]
    wrapped = plan_travel([Fraction(2), Fraction(6)], num_frames=8, closed_loop=True)
    assert wrapped[0] == Blend(1, 0, Fraction(1, 2))


def test_held_keyframes_stay_and_then_hurry() -> None:
    assert shares(0, 4, hold=0.5, num_frames=5) == [0, 0, 0, 0.5, 1]


@given(
    st.sets(st.integers(0, 15), min_size=1),
    st.integers(16, 40),
    st.floats(0, 0.99),
    st.booleans(),
)
def test_every_frame_lies_between_neighbours(
    positions: set[int], num_frames: int, hold: float, closed_loop: bool
) -> None:
    ordered = [Fraction(p) for p in sorted(positions)]
    blends = plan_travel(ordered, num_frames=num_frames, hold=hold, closed_loop=closed_loop)
    assert len(blends) == num_frames
    for frame, blend in enumerate(blends):
        assert 0 <= blend.share < 1
        assert blend.after in (blend.before, (blend.before + 1) % len(ordered))
        if frame in positions:
            assert (ordered[blend.before], blend.share) == (frame, 0)


def text(*numbers: float) -> Conditioning:
    return Conditioning(torch.tensor([[numbers]]), {"text_embeds": torch.tensor([numbers])}, 1)


def test_states_are_blended_along_the_line_the_arc_or_not_at_all() -> None:
    texts = [text(1.0, 0.0), text(0.0, 1.0)]
    blends = [Blend(0, 1, Fraction(0)), Blend(0, 1, Fraction(1, 2)), Blend(1, 1, Fraction(0))]
    line = travelled(texts, blends, interpolation="linear")
    assert torch.equal(line.states, torch.tensor([[[[1.0, 0]], [[0.5, 0.5]], [[0, 1.0]]]]))
    assert torch.equal(line.added["text_embeds"], torch.tensor([[1.0, 0], [0.5, 0.5], [0, 1.0]]))
    arc = travelled(texts, blends, interpolation="slerp").states[0, 1, 0]
    assert torch.allclose(arc, torch.full((2,), math.sqrt(0.5)))
    step = travelled(texts, blends, interpolation="step")
    assert torch.equal(step.states[0, 1], texts[0].states[0])


@pytest.mark.parametrize("other", [(1.0, 1e-4), (-1.0, 0.0), (0.0, 0.0)])
def test_an_arc_without_an_angle_is_a_line(other: tuple[float, float]) -> None:
    texts = [text(1.0, 0.0), text(*other)]
    blend = [Blend(0, 1, Fraction(1, 4))]
    states = travelled(texts, blend, interpolation="slerp").states
    assert torch.allclose(states, travelled(texts, blend, interpolation="linear").states)


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_keyframes_that_all_say_the_same_are_the_plain_prompt(
    animator: Animator, travelling: AnimationRequest, guidance: float
) -> None:
    plain = replace(travelling, guidance=guidance, negative_prompt="an ox")
    same = replace(plain, prompt="", prompts={"0": "a fox", "3": "a fox"})
    assert torch.equal(animator.animate(plain).latents, animator.animate(same).latents)


@pytest.mark.usefixtures("latents_only")
def test_a_keyframe_changes_its_own_frames_only(
    tiny_world: Path, travelling: AnimationRequest
) -> None:
    still = Animator.load(str(tiny_world), motion="none")
    asked = replace(travelling, motion="none", interpolation="step")
    fox = still.animate(asked).latents
    both = still.animate(replace(asked, prompt="", prompts={"0": "a fox", "2": "an ox"})).latents
    ox = still.animate(replace(asked, prompt="an ox")).latents
    assert torch.allclose(both[:, :, :2], fox[:, :, :2], atol=1e-5)
    assert torch.allclose(both[:, :, 2:], ox[:, :, 2:], atol=1e-5)
    assert not torch.allclose(both[:, :, 2:], fox[:, :, 2:], atol=1e-3)


def test_texts_of_any_length_have_as_many_chunks(
    animator: Animator, travelling: AnimationRequest
) -> None:
    """Keyframes of 10, 80 and 200 tokens, and no negative prompt."""
    prompts = {"0": "a " * 10, "1": "a " * 80, "3": "a " * 200}
    asked = settle(replace(travelling, prompt="", prompts=prompts), animator.model)
    (now,) = read_texts(asked, base=animator.base, words=()).parts
    room = animator.base.tokenizer.model_max_length
    chunks = math.ceil(200 / (room - 2))
    assert now.states.shape[:3] == (2, 4, chunks * room)
    middle = (now.states[1, 1] + now.states[1, 3]) / 2
    assert torch.allclose(now.states[1, 2], middle, atol=1e-5)
    assert torch.equal(now.states[0, 0], now.states[0, 3])


def test_keyframes_may_change_over_the_steps_too(
    animator: Animator, travelling: AnimationRequest
) -> None:
    prompts = {"0": "a [fox:ox:0.5]", "3": "an ox"}
    asked = settle(replace(travelling, prompt="", prompts=prompts), animator.model)
    first, second = read_texts(asked, base=animator.base, words=()).parts
    assert (first.last_step, second.last_step) == (1, 2)
    assert not torch.equal(first.states[1, 0], second.states[1, 0])
    assert torch.equal(first.states[1, 3], second.states[1, 3])


def test_too_many_texts_over_frames_and_steps_are_refused(
    animator: Animator, travelling: AnimationRequest
) -> None:
    edits = "".join(f"[a{i}:{i / 300}]" for i in range(1, 300))
    prompts = {str(i): f"{i}{edits}" for i in range(10)}
    asked = replace(travelling, steps=300, num_frames=10, prompts=prompts)
    with pytest.raises(InputError, match="at most 2000"):
        animator.animate(asked)


def test_a_file_carries_its_keyframes_and_runs_again(
    animator: Animator, travelling: AnimationRequest, tmp_path: Path
) -> None:
    asked = replace(
        travelling, prompts={"0": "{red|blue}", "100%": "asleep"}, hold=0.5, closed_loop=True
    )
    made = animator.animate(asked)
    path = made.save(tmp_path / "x.png", format="apng")
    again = animator.animate(load_request(path))
    assert np.array_equal(made.video.frames, again.video.frames)
    assert made.report.template == {"prompts.0": "{red|blue}"}
    chosen = made.request.prompts["0"]
    assert chosen in ("red", "blue")
    lines = read_metadata(path)["parameters"].splitlines()
    assert lines[:3] == ["a fox", f"0: {chosen}", "3: asleep"]
    assert describe(made.request, made.report) == describe(again.request, made.report)
