"""A command line that does not fit is told in one sentence."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import Positional, UseAppendAction, arg

from animatediff.apps.cli import main
from animatediff.apps.options.parsing import optional, parse
from animatediff.errors import InputError


@dataclass(frozen=True)
class Options:
    prompt: Annotated[Positional[str], arg(metavar="PROMPT")]
    """What to draw."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    steps: Annotated[int | None, optional("N")] = None
    guidance: float = 7.5
    precision: Literal["fp32", "fp16"] = "fp32"
    seeds: Annotated[UseAppendAction[tuple[str, ...]], arg(name="seed")] = ()


def options(*words: str) -> Options:
    return parse(Options, words, command="draw", summary="Draw.")


def test_words_become_the_dataclass():
    words = ("a fox", "-o", "x.mp4", "--steps", "3", "--seed", "-1", "--seed", "2,3")
    assert options(*words) == Options("a fox", Path("x.mp4"), 3, seeds=("-1", "2,3"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "draw needs PROMPT; see animatediff draw --help."),
        (("a", "--stepz", "3"), "draw has no option --stepz; did you mean --steps?"),
        (("a", "--stepz=3"), "draw has no option --stepz; did you mean --steps?"),
        (("a", "--zzzzzz"), "draw has no option --zzzzzz; see animatediff draw --help."),
        (("a", "fox"), "'fox' was not expected after draw; put text of several words in quotes."),
        (("a", "--steps", "x"), "--steps needs a whole number, not 'x'."),
        (("a", "--steps", "3.5"), "--steps needs a whole number, not '3.5'."),
        (("a", "--guidance", "x"), "--guidance needs a number, not 'x'."),
        (("a", "--steps"), "--steps needs a value; see animatediff draw --help."),
        (
            ("a", "--precision", "fp3"),
            "--precision cannot be 'fp3'; it is one of 'fp32', 'fp16'.",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_does_not_fit_is_one_sentence(words, sentence, encoding, capsys, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # tyro's boxes differ by it
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(InputError) as caught:
        options(*words)
    assert str(caught.value) == sentence
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


@dataclass(frozen=True)
class Choices:
    question: Annotated[
        Literal["autoencoder", "motion-lora-rank", "motion-lora-clips", "composition", "control"],
        Positional,
    ]


def test_all_choices_of_a_missing_word_are_named() -> None:
    with pytest.raises(
        InputError, match=r"draw needs one of autoencoder, .*, composition, control; "
    ):
        parse(Choices, (), command="draw", summary="Draw.")


def test_help_goes_to_the_output_stream_with_code_zero(capsys):
    with pytest.raises(SystemExit) as stop:
        options("--help")
    assert stop.value.code == 0
    assert "--steps N" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("--lr", "--learning-rate X"),
        ("--max_train_steps", "--steps N"),
        ("--network_dim", "--rank N"),
        ("--train_data_dir", "--data DATA"),
        ("--resolution", "--size N"),
        ("--output_dir", "--output FILE"),
        ("--pretrained_model_name_or_path", "--model NAME"),
        ("--mixed_precision", "--precision"),
        ("--train_batch_size", "--batch-size N"),
        ("--lr_warmup_steps", "--warmup"),
        ("--gradient_checkpointing", "--checkpointing"),
        ("--instance_prompt", "--caption TEXT"),
    ],
)
def test_the_names_of_other_trainers_lead_to_the_right_option(
    theirs: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--resolution`` was said to be ``--precision``."""
    assert main(["train", "motion-lora", theirs, "3"]) == 2
    assert f"train has no option {theirs}; use {ours}" in capsys.readouterr().err


def test_resuming_needs_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    """``--resume`` was said to be ``--preset``."""
    for word in ("--resume", "--resume_from_checkpoint"):
        assert main(["train", "motion-lora", word, "x"]) == 2
        assert "resumes by itself when the same command" in capsys.readouterr().err


def test_a_seed_of_too_many_digits_is_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["animate", "a fox", "--seed", "9" * 30, "-o", "x.gif"]) == 2
    assert "is out of range; choose 0 to 18446744073709551615" in capsys.readouterr().err
