"""Every failure has one sentence and one documented exit code."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import torch

from animatediff import errors
from animatediff.apps.failures import EXIT_CODES, TRACEBACK_VARIABLE, explain, report

DOCUMENT = Path(__file__).parents[2] / "docs" / "exit-codes.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("x"), 2),
        (errors.FileError("x"), 3),
        (errors.MemoryLimitError("x"), 4),
        (MemoryError(), 4),
        (torch.OutOfMemoryError("CUDA out of memory"), 4),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4),
        (errors.OutputError("x"), 5),
        (OSError(errno.ENOSPC, "No space left on device", "fox.mp4"), 5),
        (errors.NumericalError("x"), 6),
        (errors.Cancelled("x"), 130),
        (KeyboardInterrupt(), 130),
        (RuntimeError("x"), 1),
        (OSError(errno.EIO, "Input/output error"), 1),
    ],
)
def test_each_failure_has_its_documented_code(error, code):
    found, sentence = explain(error)
    assert found == code
    assert sentence.endswith((".", "x"))
    assert "\n" not in sentence
    assert code in EXIT_CODES


def test_the_codes_are_those_of_the_document():
    documented = re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in documented] == list(EXIT_CODES)


def test_a_traceback_is_shown_only_when_asked_for(monkeypatch, capsys):
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    assert report(RuntimeError("two\nlines")) == 1
    quiet = capsys.readouterr().err
    assert quiet.count("\n") == 1
    assert "two lines" in quiet
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    report(RuntimeError("two\nlines"))
    assert "RuntimeError: two\nlines" in capsys.readouterr().err
