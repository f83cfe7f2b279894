"""Prompts: what people type means what it means where they learned it, in linear time."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import within

from animatediff.errors import InputError
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.prompt_syntax import MAX_WEIGHT, scheduled, take_loras, weighted


def flat(prompt: str) -> list[tuple[str, float]]:
    return [(p.text, round(p.weight, 6)) for section in weighted(prompt) for p in section]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
        ("", [("", 1.0)]),
        ("a fox: red, 1:2)", [("a fox: red, 1:2)", 1.0)]),
        ("[less]", [("less", round(1 / 1.1, 6))]),
        (r"a \\ b \{c\|d\}", [(r"a \ b {c|d}", 1.0)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", round(1 / 1.1, 6))]),
        ("(a:-1) b", [("a", -1.0), (" b", 1.0)]),
    ],
)
def test_emphasis_is_that_of_the_table(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert flat(prompt) == pieces


def test_break_parts_sections_and_emphasis_goes_on() -> None:
    assert [[p.text for p in s] for s in weighted("x BREAK y")] == [["x"], ["y"]]
    assert flat("(x BREAK y)") == [("x", 1.1), ("y", 1.1)]
    assert flat("BREAKFAST") == [("BREAKFAST", 1.0)]
    assert [[p.text for p in s] for s in weighted("BREAK")] == [[""], [""]]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[cat::4] x", [(4, "cat x"), (10, " x")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[soft] (a:1.2) [x:y]", [(10, "[soft] (a:1.2) [x:y]")]),
        (r"\[a:b:3\]", [(10, r"\[a:b:3\]")]),
    ],
)
def test_editing_changes_the_text_at_its_step(prompt: str, texts: list[tuple[int, str]]) -> None:
    assert scheduled(prompt, steps=10) == texts


def test_loras_are_taken_out_of_the_prompt() -> None:
    text, loras = take_loras("a fox <lora:style:0.8>, <lyco:other> red<lora:a b:-1:-1>")
    assert text == "a fox ,  red"
    assert loras == ("style:0.8", "other:1", "a b:-1")
    assert take_loras("a < b > c") == ("a < b > c", ())
    for wrong in ("<lora:>", "<lora:a:x>", "<lora:a:1:2>", "<lora:a:1:2:3>"):
        with pytest.raises(InputError, match="lora"):
            take_loras(wrong)


@pytest.mark.parametrize(
    "unit", ["(", "[", "([", "[a:", "(a:", ":1", "[a:b:1]", "\\", "\\ ", " BREAK", "<lora:"]
)
def test_a_hundred_thousand_characters_take_a_moment(unit: str) -> None:
    prompt = unit * (100_000 // len(unit))
    with within(1):
        weighted(prompt)
        with contextlib.suppress(InputError):  # which says that there are too many edits
            scheduled(prompt, steps=20)
        with contextlib.suppress(InputError):
            take_loras(prompt)


@given(st.text(alphabet="ab ()[]:.1\\|<>BREAK", max_size=60))
def test_no_prompt_loses_its_words(prompt: str) -> None:
    kept = "".join(piece.text for section in weighted(prompt) for piece in section)
    assert kept.count("a") == prompt.count("a")
    ends = [end for end, _ in scheduled(prompt, steps=7)]
    assert ends == sorted(set(ends))
    assert ends[-1] == 7


@given(st.text(alphabet="ab ,.!?'", max_size=60))
def test_plain_text_is_left_as_it_is(prompt: str) -> None:
    assert flat(prompt) == [(prompt, 1.0)]
    assert scheduled(prompt, steps=4) == [(4, prompt)]


DIGITS = "9" * 400
"""A number that no float can hold."""


@pytest.mark.parametrize(
    "prompt",
    [
        "(a:1e999)",
        "(a:nan)",
        "(a:inf)",
        "(a:-inf)",
        f"(a:{DIGITS})",
        f"(a:-{DIGITS})",
        f"((a:{DIGITS}):0)",
        f"((a:0):{DIGITS})",
        "((((a:90):90):90):90)",
        "(" * 5000 + "a",
        "[" * 5000 + "a",
        f"(a:.{DIGITS})",
    ],
)
def test_every_weight_is_finite_and_within_a_hundred(prompt: str) -> None:
    weights = [piece.weight for section in weighted(prompt) for piece in section]
    assert weights
    assert all(math.isfinite(weight) and abs(weight) <= MAX_WEIGHT for weight in weights)


def test_a_step_that_never_comes_is_after_the_last() -> None:
    assert scheduled(f"[a:b:{DIGITS}]", steps=10) == [(10, "a")]
    assert scheduled(f"[a:b:{DIGITS}.0]", steps=10) == [(10, "a")]


@pytest.mark.parametrize(
    "text",
    ["ثعلب أحمر", "שועל", "狐狸 🦊", "a\u200bb\u200d\ufeffc", "\u202eright to left", "👩‍👩‍👧‍👦"],
)
def test_every_script_is_left_as_it_is(text: str) -> None:
    assert flat(f"({text}:1.5), {text}") == [(text, 1.5), (f", {text}", 1.0)]
    assert scheduled(f"[{text}:x:3]", steps=9) == [(3, text), (9, "x")]
    assert AnimationRequest(prompt=text).validated().prompt == text


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("x" * 1_000_000, "1000000 characters; shorten it to 10000"),
        ("(" * 100_000, "shorten it to 10000"),
        ("[" * 100_000, "shorten it to 10000"),
        ("\ud800", "not valid Unicode"),
        ("a fox \udfff", "not valid Unicode"),
    ],
)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_that_cannot_be_read_is_refused_before_it_is(
    field: str, prompt: str, sentence: str
) -> None:
    with within(0.1), pytest.raises(InputError, match=sentence) as refused:
        AnimationRequest(**{"prompt": "a fox", field: prompt}).validated()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("[fox|hare] here", ["fox here", "hare here", "fox here", "hare here"]),
        ("a [|big] fox", ["a  fox", "a big fox", "a  fox", "a big fox"]),
        ("[a|b|c]", ["a", "b", "c", "a"]),
        ("[[x|y]:z:2]", ["x", "y", "z", "z"]),
        ("[(a:1.2)|b]", ["(a:1.2)", "b", "(a:1.2)", "b"]),
        (r"[a\|b]", [r"[a\|b]"] * 4),
        ("a|b", ["a|b"] * 4),
        ("(a|b)", ["(a|b)"] * 4),
        ("[a:b|c:2]", ["a", "a", "b|c", "b|c"]),
    ],
)
def test_texts_in_square_brackets_take_turns_by_steps(prompt: str, texts: list[str]) -> None:
    found = scheduled(prompt, steps=4)
    at = [next(text for end, text in found if step <= end) for step in range(1, 5)]
    assert at == texts
