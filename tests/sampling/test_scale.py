"""Scales: a number, or one that changes over frames or over steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animatediff.errors import InputError
from animatediff.sampling.options.scale import Scale

VALUES = st.floats(-10, 10)


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    over = draw(st.sampled_from(["all", "frames", "steps"]))
    if over == "all":
        return Scale.of(draw(VALUES))
    positions = (
        st.integers(0, 1000).map(float)
        if over == "frames"
        else st.integers(0, 1000).map(lambda n: n / 1000)
    )
    at = sorted(draw(st.sets(positions, min_size=1, max_size=8)))
    return Scale(over, tuple((position, draw(VALUES)) for position in at))


@given(scales())
def test_a_scale_is_read_back_from_its_text(scale: Scale) -> None:
    assert Scale.parse(str(scale)) == scale


@given(scales(), st.integers(1, 50))
def test_every_value_lies_between_the_least_and_the_most(scale: Scale, count: int) -> None:
    least, most = scale.least_and_most
    if scale.over == "steps":
        found = [scale.at_step(step, steps=count) for step in range(count)]
    else:
        found = list(scale.of_frames(range(count)))
    assert all(least - 1e-9 <= value <= most + 1e-9 for value in found)


def test_a_number_is_the_same_everywhere() -> None:
    scale = Scale.parse(" 0.8 ")
    assert scale == Scale.of(0.8)
    assert [scale.at_step(step, steps=3) for step in range(3)] == [0.8, 0.8, 0.8]
    assert scale.of_frames(range(2)) == (0.8, 0.8)
    assert str(scale) == "0.8"


def test_over_frames_it_changes_linearly_and_keeps_the_values_of_both_ends() -> None:
    scale = Scale.parse("frames(2=0, 4=1, 6=0.5)")
    assert scale.of_frames(range(9)) == (0, 0, 0, 0.5, 1, 0.75, 0.5, 0.5, 0.5)
    assert scale.of_frames([4, 3]) == (1, 0.5)  # a window looks its own frames up


def test_over_steps_the_first_is_at_zero_and_the_last_at_one() -> None:
    scale = Scale.parse("steps(0=1, 0.5=0)")
    assert [scale.at_step(step, steps=5) for step in range(5)] == [1, 0.5, 0, 0, 0]
    assert scale.at_step(0, steps=1) == 1


def test_nothing_counts_only_if_it_is_zero_throughout() -> None:
    assert Scale.of(0).is_zero
    assert Scale.parse("frames(0=0, 5=-0)").is_zero
    assert not Scale.parse("steps(0=0, 1=0.1)").is_zero


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("much", "'much' is not a scale"),
        ("", "is not a scale"),
        ("nan", "finite number"),
        ("frames()", "is not a scale"),
        ("frames(0)", "is not a scale"),
        ("frames(0=1, 0=2)", "do not rise"),
        ("frames(8=1, 0=2)", "do not rise"),
        ("frames(0.5=1)", "not whole frames"),
        ("frames(-1=1)", "not whole frames"),
        ("steps(2=1)", "not shares from 0 to 1"),
        ("steps(0=inf)", "finite number"),
        ("blocks(0=1)", "is not a scale"),
    ],
)
def test_what_is_no_scale_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        Scale.parse(text)
    assert "\n" not in str(refused.value)
