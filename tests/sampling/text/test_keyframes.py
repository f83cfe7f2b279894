"""Prompt travel: every notation that creators bring becomes the same keyframes, or names its line."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import within

from animatediff.errors import FileError, InputError
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.keyframes import MAX_KEYFRAMES, position_of, positions_of
from animatediff.sampling.text.travel_files import Travel, read_travel, read_travel_file

FOX_AND_HARE = {"0": "a fox", "8": "a hare"}


@pytest.mark.parametrize(
    "text",
    [
        "0: a fox\n8: a hare",
        "\n 0 :a fox\n# a remark\n\n8:a hare \n",
        '{"0": "a fox", "8": "a hare"}',
        '"0": "a fox",\n"8": "a hare",\n',
        '{"0": "a fox", // first\n /* then */ "8": "a hare", }',
        "{0: 'a fox', 8: 'a hare'}",
        '{"prompts": {"0": "a fox", "8": "a hare"}}',
        '{"8": "a hare", "0": "a fox"}',
    ],
    ids=[
        *("lines", "lines with blanks", "a table", "no braces", "remarks", "Python"),
        *("ours", "unsorted"),
    ],
)
def test_every_notation_says_the_same(text: str) -> None:
    assert read_travel(text) == Travel(FOX_AND_HARE)


def test_lines_around_the_keyframes_hold_throughout() -> None:
    read = read_travel("1girl, best quality,\nsoft light\n0: smiling\n50%: (sad:1.2)\nlong hair")
    assert read.prompts == {
        "0": "1girl, best quality, soft light, smiling, long hair",
        "50%": "1girl, best quality, soft light, (sad:1.2), long hair",
    }


def test_a_wildcard_in_front_is_no_table() -> None:
    read = read_travel("{red|blue} fox\n0: awake\n8: asleep")
    assert read.prompts == {"0": "{red|blue} fox, awake", "8": "{red|blue} fox, asleep"}


def test_a_project_file_is_read_as_its_own_program_reads_it() -> None:
    text = """{
      "name": "sample", "seed": [1, -1], "steps": 20, "guidance_scale": 7.5, "compile": false,
      "prompt_fixed_ratio": 0.8,
      "head_prompt": "a wizard,",
      "prompt_map": { "0": "standing", "8": "sitting", },
      "tail_prompt": "at night",
      "controlnet_map": { "is_loop": true, "deep": {"enable": [{"a": null}]} }
    }"""
    assert read_travel(text) == Travel(
        {"0": "a wizard, standing, at night", "8": "a wizard, sitting, at night"},
        interpolation="slerp",
        hold=0.8,
        closed_loop=True,
    )


def test_our_own_table_says_how_to_travel() -> None:
    text = '{"prompts": {"0": "a"}, "interpolation": "slerp", "hold": 0.25, "closed_loop": true}'
    assert read_travel(text) == Travel(
        {"0": "a"}, interpolation="slerp", hold=0.25, closed_loop=True
    )


def test_texts_keep_their_quotes_backslashes_and_script() -> None:
    read = read_travel(r"""{"0": "a \"fox\" \\(b\\) \n x", '1': 'it\'s "red"', "2": "狐 🦊"}""")
    assert read.prompts == {"0": 'a "fox" \\(b\\) \n x', "1": 'it\'s "red"', "2": "狐 🦊"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0: a\n-3: b", r"^Line 2: '-3' is not a keyframe"),
        ('{"0": "a",\n "-3": "b"}', r"^Line 2: '-3' is not a keyframe"),
        ('"abc": "x"', r"^Line 1: 'abc' is not a keyframe; write a frame such as 16"),
        ('\n"0": "a",\n"1.5": "b"', r"^Line 3: '1.5' is not a keyframe"),
        ('"0": "a", "101%": "b"', r"^Line 1: The keyframe 101% lies beyond the end"),
        ("0: a\n4: b\n0: c", r"^Line 3: the keyframe 0 is in line 1 already"),
        ('"0": "a",\n"4": "b",\n"0": "c"', r"^Line 3: '0' is in line 1 already"),
        ("0: a\nand more\n8: b", r"^Line 3 is a keyframe after text that holds"),
        ('"0": "a",,"1": "b"', r"^Line 1: there are two commas"),
        ('"0": "a"\n"8": "b"', r"^Line 2 cannot be read"),
        ('"0": "a', r"^Line 1: the text '\"a' is never closed"),
        ('"0":\n"a', r"^Line 2: the text '\"a' is never closed"),
        ('"0": 7', r"^Line 1: 7 is not text"),
        ('"0": {"a": "b"}', r"^Line 1: 'a table' is not text"),
        ('{"0": "a"', r"^Line 1 cannot be read"),
        ('{"prompt_map": "x"}', r"^Line 1: the keyframes are no table"),
        ('{"prompt_map": {"0": "a"},\n"prompt_fixed_ratio": 2}', r"^Line 2: prompt_fixed_ratio"),
        ('{"prompts": {"0": "a"},\n\n"closed_loop": "yes"}', r"^Line 3: closed_loop = 'yes'"),
        ('"0": "(a:`sin(t)`)"', r"^Line 1: an expression in backticks is not read"),
        ("", "no keyframe in it"),
        ("[]", "no keyframe in it"),
        ("only a prompt", "no keyframe in it"),
        ('{"0": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"0": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        read_travel(text)
    assert "\n" not in str(refused.value)


@given(st.text(alphabet="\"'\\{}[]:,0189%s.-#/* \nab", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        prompts = read_travel(text).prompts
    except InputError:
        return
    assert prompts


@pytest.mark.parametrize(
    "unit", ["1", '"\\', "/*", "{", '"a":', "1 ", "0:a\n", "'", ",", "1:", " "]
)
@pytest.mark.parametrize("start", ["", "{"])
def test_half_a_million_characters_take_a_moment(unit: str, start: str) -> None:
    text = start + unit * (500_000 // len(unit))
    with within(2), contextlib.suppress(InputError):
        read_travel(text)


def test_a_million_keyframes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("".join(f"{i}: a\n" for i in range(1_000_000)))
    with within(0.1), pytest.raises(FileError, match="at most 512 KiB"):
        read_travel_file(path)
    with pytest.raises(InputError, match="at most 1024 can be"):
        AnimationRequest("a", prompts={str(i): "a" for i in range(1_000_000)}).validated()
    many = "".join(f"{i}: a\n" for i in range(MAX_KEYFRAMES + 1))
    with pytest.raises(InputError, match="Line 1025: at most 1024"):
        read_travel(many)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe0")
    with pytest.raises(FileError, match="not UTF-8"):
        read_travel_file(tmp_path / "x")
    with pytest.raises(FileError, match="cannot be read"):
        read_travel_file(tmp_path)
    (tmp_path / "y").write_text("0: a\n-1: b")
    with pytest.raises(FileError, match=r"y: Line 2: '-1' is not a keyframe"):
        read_travel_file(tmp_path / "y")


@pytest.mark.parametrize(
    ("key", "position"),
    [("0", 0), ("15", 15), ("0%", 0), ("50%", Fraction(15, 2)), ("100 %", 15), ("1.5s", 12)],
)
def test_frames_parts_and_times_are_positions(key: str, position: Fraction) -> None:
    assert position_of(key, num_frames=16, rate=Fraction(8)) == position


def test_keyframes_come_in_the_order_of_their_frames() -> None:
    found = positions_of({"100%": "c", "0": "a", "1s": "b"}, num_frames=16, rate=Fraction(8))
    assert found == {"0": 0, "1s": 8, "100%": 15}
    assert list(found) == ["0", "1s", "100%"]


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ({"16": "a"}, r"The keyframe 16 lies beyond the last of 16 frames, 15"),
        ({"2s": "a"}, r"The keyframe 2s lies beyond"),
        ({"0": "a", "0%": "b"}, r"The keyframes 0 and 0% are at the same frame"),
        ({"8": "a", "1s": "b"}, r"The keyframes 8 and 1s are at the same frame"),
        ({8: "a", "8 ": "b"}, r"The keyframe 8 is there twice"),
        ({-1: "a"}, r"'-1' is not a keyframe"),
        ({"x": "a"}, r"'x' is not a keyframe"),
        ({"0": 3}, r"The text of the keyframe '0' is 3"),
        ("0: a", r"is not a mapping"),
        ({"0": "a" * 10_001}, r"text of the keyframe 0 has 10001 characters"),
        ({str(i): "a" * 9_000 for i in range(16)}, r"more than 100000 characters together"),
        ({"0": "<lora:x:1>", "8": "<lora:x:0.5>"}, r"LoRA 'x' with several scales"),
    ],
)
def test_a_request_refuses_keyframes_that_cannot_be(prompts: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        AnimationRequest("a", prompts=prompts, num_frames=16).validated()  # type: ignore[arg-type]


def test_keyframes_survive_the_way_through_json() -> None:
    request = AnimationRequest(
        "a fox",
        prompts={0: "sitting", "1.50s": "running", " 100% ": "asleep"},  # type: ignore[dict-item]
        interpolation="slerp",
        hold=0.25,
        closed_loop=True,
    ).validated()
    assert list(request.prompts) == ["0", "1.5s", "100%"]
    assert AnimationRequest.from_json(request.to_json()) == request
    assert request.keyframes["0"] == "a fox, sitting"


def test_a_lora_of_a_keyframe_counts_once_for_all_frames() -> None:
    prompts = {"0": "a <lora:x:0.5>", "8": "b <lora:x:0.5> <lora:y:1>"}
    request = AnimationRequest("c", prompts=prompts, loras=("z:1",))
    assert request.styles == ("z:1", "x:0.5", "y:1")
    with pytest.raises(InputError, match="LoRA 'x' with several scales"):
        _ = replace(request, prompt="c <lora:x:1>").styles


def test_a_negative_prompt_follows_its_keyframe() -> None:
    travel = read_travel(
        '"0": "a fox --neg night, blurred", "8": "a hare", "12": "an owl --neg day"'
    )
    assert travel.prompts == {"0": "a fox", "8": "a hare", "12": "an owl"}
    assert travel.negatives == {"0": "night, blurred", "12": "day"}
    project = read_travel('{"head_prompt": "art", "prompt_map": {"0": "a fox --neg night"}}')
    assert (project.prompts, project.negatives) == ({"0": "art, a fox"}, {"0": "night"})
    lines = read_travel("0: a fox --neg night\n8: a hare\n")
    assert (lines.prompts["0"], lines.negatives) == ("a fox", {"0": "night"})
