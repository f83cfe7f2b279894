"""Wildcards: the seed chooses, always the same, and only from the folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.cases import text_with_a_byte_order_mark
from tests.effort import within

from animatediff.errors import FileError, InputError
from animatediff.sampling.text.wildcards import resolve_wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "wildcards"
    (made / "deep").mkdir(parents=True)
    (made / "animal.txt").write_text("# animals\nfox\n\nhare\nowl\n")
    (made / "deep" / "place.txt").write_text("a {green|dark} forest\n")
    (made / "loop.txt").write_text("__loop__ again\n")
    (made / "hen.txt").write_text("an __egg__\n")
    (made / "egg.txt").write_text("a __hen__\n")
    (made / "empty.txt").write_text("# nothing\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return made


def test_a_seed_always_chooses_the_same_and_seeds_differ(folder: Path) -> None:
    template = "{red|green|blue} __animal__ in __deep/place__"
    first = [resolve_wildcards(template, seed=s, folder=folder) for s in range(20)]
    assert first == [resolve_wildcards(template, seed=s, folder=folder) for s in range(20)]
    assert len(set(first)) > 5
    assert {text.split()[1] for text in first} == {"fox", "hare", "owl"}
    assert all("{" not in text and "forest" in text for text in first)


def test_a_choice_does_not_depend_on_what_comes_after_it(folder: Path) -> None:
    for seed in range(10):
        short = resolve_wildcards("{red|green|blue}", seed=seed, folder=folder)
        long = resolve_wildcards("{red|green|blue} {a|b}", seed=seed, folder=folder)
        assert long.startswith(short)


def test_several_may_be_chosen_and_none_twice(folder: Path) -> None:
    for seed in range(10):
        chosen = resolve_wildcards("{2$$a|b|c}", seed=seed, folder=folder).split(", ")
        assert len(set(chosen)) == 2


@pytest.mark.parametrize(
    "text", ["a fox", "{one}", "a { b", "a } b | c", r"\{a|b\}", "snake_case __", "__a"]
)
def test_what_is_no_choice_stays_as_it_is(text: str, folder: Path) -> None:
    assert resolve_wildcards(text, seed=0, folder=folder) == text


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("__animals__", "did you mean __animal__"),
        ("__x__", "put x.txt into"),
        ("__loop__", "without end|more than 1000"),
        ("{a|b}" * 1001, "more than 1000"),
        ("__deep/../../secret__", "no wildcard|outside"),
    ],
)
def test_what_cannot_be_chosen_is_said(template: str, sentence: str, folder: Path) -> None:
    if "secret" in template:
        assert "secret\n" not in resolve_or_message(template, folder)
        return
    with pytest.raises(InputError, match=sentence):
        resolve_wildcards(template, seed=0, folder=folder)


def resolve_or_message(template: str, folder: Path) -> str:
    try:
        return resolve_wildcards(template, seed=0, folder=folder)
    except InputError as error:
        return str(error)


def test_an_empty_list_is_refused(folder: Path) -> None:
    with pytest.raises(FileError, match="no line"):
        resolve_wildcards("__empty__", seed=0, folder=folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="outside the folder"):
        resolve_wildcards("__out__", seed=0, folder=folder)


def test_a_hundred_thousand_characters_take_a_moment(folder: Path) -> None:
    for unit in ("_", "{", "__a", "{|", "\\"):
        with within(1), contextlib.suppress(InputError):
            resolve_wildcards(unit * (100_000 // len(unit)), seed=0, folder=folder)


@pytest.mark.parametrize("template", ["__loop__", "__hen__", "a __egg__ and __hen__"])
def test_wildcards_that_name_each_other_are_refused(template: str, folder: Path) -> None:
    with within(1), pytest.raises(InputError, match=r"name each other without end|more than 1000"):
        resolve_wildcards(template, seed=0, folder=folder)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "../secret", "/etc/passwd", "deep/../../secret", "..", "deep/.."]
)
def test_a_name_out_of_the_folder_reads_nothing(name: str, folder: Path) -> None:
    assert resolve_or_message(f"__{name}__", folder) == f"__{name}__"


def test_a_thousand_million_combinations_cost_what_one_does(folder: Path) -> None:
    (folder / "ten.txt").write_text("".join(f"{{{i}|x{i}}}\n" for i in range(10)))
    template = "{0|1|2|3|4|5|6|7|8|9} " * 9 + "__ten__ " * 9
    with within(1):
        found = {resolve_wildcards(template, seed=seed, folder=folder) for seed in range(5)}
    assert len(found) == 5
    assert found == {resolve_wildcards(template, seed=seed, folder=folder) for seed in range(5)}


def test_no_byte_order_mark_comes_into_the_prompt(folder: Path) -> None:
    for name, text in {"a": "fox\n", "b": "# list\nfox\n", "c": "fox\n\ufefffox\n"}.items():
        text_with_a_byte_order_mark.write(folder / f"{name}.txt", text)
        for seed in range(4):
            assert resolve_wildcards(f"__{name}__", seed=seed, folder=folder) == "fox"
