"""Configurations mean exactly what they say."""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import text_with_a_byte_order_mark

from animatediff.config import MAX_TOML_BYTES, dump_toml, load_toml, nearest
from animatediff.errors import FileError, InputError


@dataclass(frozen=True)
class Optimiser:
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Run:
    name: str
    steps: int = 100
    kind: Literal["motion", "adapter"] = "motion"
    resume: bool = False
    note: str | None = None
    folder: Path = Path("out")
    optimiser: Optimiser = field(default_factory=Optimiser)
    parts: tuple[Part, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_the_value_it_spells_out(tmp_path):
    path = write(
        tmp_path,
        """
        name = "first"
        steps = 7
        folder = "a/b"
        parts = [{name = "x"}, {name = "y", weight = 0.5}]
        sizes = {anything = 3}
        [optimiser]
        learning_rate = 1
        betas = [0.8, 0.9]
        """,
    )
    assert load_toml(path, Run) == Run(
        name="first",
        steps=7,
        folder=Path("a/b"),
        optimiser=Optimiser(learning_rate=1.0, betas=(0.8, 0.9)),
        parts=(Part("x"), Part("y", 0.5)),
        sizes={"anything": 3},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\nstpes = 3', ["unknown key stpes", "did you mean steps?"]),
        ('name = "a"\nzzzzzz = 3', ["unknown key zzzzzz", "known are name, steps"]),
        ('name = "a"\n[optimiser]\nlearning_rat = 3', ["optimiser.learning_rat", "learning_rate?"]),
        ('name = "a"\nparts = [{nam = "b"}]', ["parts[0].nam", "did you mean name?"]),
        ("steps = 3", ["lacks name"]),
        ('name = "a"\nsteps = "3"', ["steps = '3'", "integer"]),
        ('name = "a"\nsteps = 3.5', ["steps = 3.5"]),
        ('name = "a"\nresume = 1', ["resume = 1"]),
        ('name = "a"\nkind = "movement"', ["kind = 'movement'", "'motion' or 'adapter'"]),
        ('name = "a"\noptimiser = 3', ["optimiser = 3"]),
        ('name = "a"\n[optimiser]\nbetas = [0.1]', ["optimiser.betas"]),
        ('name = "a"\n_target_ = "os.system"', ["unknown key _target_"]),
    ],
)
def test_what_a_file_may_not_say_is_named_in_one_sentence(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        load_toml(write(tmp_path, text), Run)
    message = str(caught.value)
    assert "\n" not in message
    assert "run.toml" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name = ", "is not TOML"),
        (b'name = "a"\nname = "b"', "is not TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"run: !!python/object/apply:os.system ['true']", "is not TOML"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "is not TOML"),
        (b"#" * (MAX_TOML_BYTES + 1), "at most 1 MiB"),
    ],
)
def test_a_file_that_is_not_toml_is_a_file_error(tmp_path, content, words):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=words):
        load_toml(path, Run)


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        load_toml(tmp_path / "absent.toml", Run)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
runs = st.builds(
    Run,
    name=texts,
    steps=st.integers(0, 2**62),
    kind=st.sampled_from(["motion", "adapter"]),
    resume=st.booleans(),
    note=st.none() | texts,
    optimiser=st.builds(Optimiser, learning_rate=st.floats(allow_nan=False, allow_infinity=False)),
    parts=st.lists(st.builds(Part, name=texts), max_size=3).map(tuple),
    sizes=st.dictionaries(texts, st.integers(-(2**62), 2**62), max_size=3),
)


@given(runs)
def test_every_value_survives_being_written_and_read(run):
    text = dump_toml(run)
    tomllib.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        assert load_toml(write(Path(folder), text), Run) == run


def test_what_toml_cannot_say_is_refused():
    @dataclass(frozen=True)
    class Odd:
        value: object

    assert dump_toml(Odd(Fraction(24000, 1001))) == 'value = "24000/1001"\n'
    with pytest.raises(InputError, match="complex"):
        dump_toml(Odd(1j))


def test_the_nearest_name_is_offered_only_when_it_is_near():
    assert nearest("guidence", ["guidance", "steps"]) == "guidance"
    assert nearest("xyz", ["guidance", "steps"]) is None


def test_toml_from_windows_is_read(tmp_path: Path) -> None:
    path = text_with_a_byte_order_mark.write(tmp_path / "run.toml", 'name = "a"\n')
    assert load_toml(path, Run) == Run("a")
