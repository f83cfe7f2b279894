"""Bad clips: set aside with a reason, at most so many, never for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from animatediff.data.checking.quarantine import Quarantine
from animatediff.data.layouts.listing import BrokenRow
from animatediff.errors import FileError, InputError, OutputError


def test_bad_clips_are_lines_of_a_file_each_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    path.write_text("of another run")
    quarantine = Quarantine(40, path=path)
    for number in (3, 4, 39):
        quarantine.set_aside(str(number), f"{number}.mp4 is broken (no header); get it again.")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["clip"] for line in lines] == ["3", "4", "39"]
    assert lines[0]["reason"] == "3.mp4 is broken (no header); get it again."


def test_too_many_bad_clips_stop_the_run_in_one_sentence() -> None:
    quarantine = Quarantine(40)
    for number in range(4):
        quarantine.set_aside(str(number), f"{number}.mp4 is broken (no header); get it again.")
    with pytest.raises(FileError) as stopped:
        quarantine.set_aside("4", "4.mp4 is broken too.")
    assert str(stopped.value) == (
        "5 of 40 clips are bad, and at most 10% may be: 0.mp4 is broken (no header); get it again."
    )


def test_rows_that_were_wrong_count_and_a_clip_counts_once() -> None:
    quarantine = Quarantine(20)
    quarantine.note_rows([BrokenRow("a.csv line 3", "a.csv line 3 has no file_name.")])
    quarantine.check()
    quarantine.set_aside("x", "one")
    quarantine.set_aside("x", "two")
    assert quarantine.reasons["x"] == "one"
    with pytest.raises(FileError, match="3 of 20 clips are bad"):
        quarantine.set_aside("y", "three")
    with pytest.raises(InputError, match="from 0 to 1"):
        Quarantine(3, max_bad=10)
    with pytest.raises(OutputError, match="cannot be written"):
        Quarantine(3, path=Path("/nowhere/at/all.jsonl"))
