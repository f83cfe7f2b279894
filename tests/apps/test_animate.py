"""Options in a user's words become requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.apps.animate import AnimateOptions, parse_seeds, parse_size, request_settings
from animatediff.errors import InputError
from animatediff.sampling.request import AnimationRequest


def test_what_is_left_out_is_left_to_the_request() -> None:
    settings = request_settings(AnimateOptions("a fox"))
    assert settings == {"prompt": "a fox", "precision": "auto"}
    assert AnimationRequest(**settings) == AnimationRequest("a fox")


def test_every_option_reaches_the_request() -> None:
    options = AnimateOptions(
        "a fox",
        frames=8,
        fps="24000/1001",
        size="64x32",
        steps=3,
        guidance=1.0,
        negative="a cat",
        model="emoji-noto",
        motion="none",
        loras=("noto:0.5",),
        scheduler="lcm",
        precision="fp32",
    )
    request = AnimationRequest(**request_settings(options)).validated()
    assert (request.width, request.height, request.num_frames) == (64, 32, 8)
    assert (str(request.fps), request.steps, request.guidance) == ("24000/1001", 3, 1.0)
    assert (request.negative_prompt, request.model, request.motion) == (
        "a cat",
        "emoji-noto",
        "none",
    )
    assert (request.loras, request.scheduler, request.precision) == (("noto:0.5",), "lcm", "fp32")


@pytest.mark.parametrize("text", ["128", "128x", "x128", "128x128x3", "-8x8", "a x b", ""])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 128x128"):
        parse_size(text)


def test_a_size_is_said_only_once() -> None:
    with pytest.raises(InputError, match="not both"):
        request_settings(AnimateOptions("a fox", size="64x64", width=64))


def test_keyframes_come_one_by_one_or_from_a_file_whose_manner_may_be_overruled(
    tmp_path: Path,
) -> None:
    one_by_one = AnimateOptions("a fox", keyframes=("0: sitting", "1.5s:at 9:30"))
    assert request_settings(one_by_one)["prompts"] == {"0": "sitting", "1.5s": "at 9:30"}
    path = tmp_path / "travel.json"
    path.write_text('{"prompt_map": {"0": "a", "8": "b"}, "prompt_fixed_ratio": 0.5}')
    read = AnimationRequest(**request_settings(AnimateOptions(prompts=path))).validated()
    assert (read.prompt, read.prompts) == ("", {"0": "a", "8": "b"})
    assert (read.interpolation, read.hold, read.closed_loop) == ("slerp", 0.5, True)
    mine = AnimateOptions(prompts=path, interpolation="linear", hold=0.0)
    settings = request_settings(mine)
    assert (settings["interpolation"], settings["hold"]) == ("linear", 0.0)
    assert request_settings(AnimateOptions("a", keyframes=("0:b",), closed_loop=True))[
        "closed_loop"
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (AnimateOptions(), "There is no PROMPT"),
        (AnimateOptions("a", keyframes=("8",)), "has no text; write, for example, '8: a hare'"),
        (AnimateOptions("a", keyframes=("8:b", "8 :c")), "--keyframe 8 is given twice"),
        (AnimateOptions("a", prompts=Path("x"), keyframes=("8:b",)), "but not both"),
    ],
)
def test_keyframes_that_cannot_be_are_refused(options: AnimateOptions, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        request_settings(options)


def test_seeds_may_be_repeated_or_listed_and_minus_one_draws_one() -> None:
    assert parse_seeds([]) == [{}]
    assert parse_seeds(["1, 2", "3", "2"]) == [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    (drawn,) = parse_seeds(["-1"])
    assert 0 <= drawn["seed"] < 2**32


@pytest.mark.parametrize("word", ["x", "1.5", "", "1,,2", "9" * 30])
def test_a_seed_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="not a whole number"):
        parse_seeds([word])


def test_too_many_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="at most 64"):
        parse_seeds([",".join(map(str, range(65)))])
