"""Bad clips: set aside with a reason, at most so many, never for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from animatediff.data.confined import Decoder
from animatediff.data.layouts import list_clips
from animatediff.data.listing import BrokenRow
from animatediff.data.quarantine import Quarantine, first_good
from animatediff.errors import FileError, InputError, OutputError


def load_except(bad: set[int], tried: list[int]) -> Callable[[int], int]:
    def load(index: int) -> int:
        tried.append(index)
        if index in bad:
            raise FileError(f"{index}.mp4 is broken (no header); get it again.")
        return index

    return load


def test_the_next_good_clip_stands_in_whatever_was_loaded_before(tmp_path: Path) -> None:
    keys = [str(i) for i in range(40)]
    tried: list[int] = []
    load = load_except({3, 4, 39}, tried)
    path = tmp_path / "quarantine.jsonl"
    quarantine = Quarantine(40, path=path)
    forth = [first_good(i, keys, load, quarantine=quarantine) for i in range(40)]
    back = [first_good(i, keys, load, quarantine=Quarantine(40)) for i in reversed(range(40))]
    assert forth == back[::-1]
    assert (forth[3], forth[4], forth[39]) == (5, 5, 0)
    assert tried[:40].count(3) == 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["clip"] for line in lines] == ["3", "4", "39"]
    assert lines[0]["reason"] == "3.mp4 is broken (no header); get it again."


def test_too_many_bad_clips_stop_the_run_in_one_sentence() -> None:
    keys = [str(i) for i in range(40)]
    tried: list[int] = []
    with pytest.raises(FileError) as stopped:
        first_good(0, keys, load_except(set(range(40)), tried), quarantine=Quarantine(40))
    assert str(stopped.value) == (
        "5 of 40 clips are bad, and at most 10% may be: 0.mp4 is broken (no header); get it again."
    )
    assert tried == [0, 1, 2, 3, 4]
    quarantine = Quarantine(40, max_bad=1)
    with pytest.raises(FileError, match="All 40 clips are bad"):
        first_good(0, keys, load_except(set(range(40)), tried), quarantine=quarantine)


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


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_bad_files_among_good_ones(
    share: float,
    tmp_path: Path,
    bad_files: dict[str, Path],
    write_clip: Callable[..., Path],
    numbered_frames: Callable[..., np.ndarray],
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    bad = list(bad_files.values())[: 2 if share < 0.1 else None]
    for path in bad:
        (folder / path.name).symlink_to(path)
    good = write_clip(tmp_path / "good.mp4", numbered_frames(4))
    for index in range(round(len(bad) * (1 - share) / share)):
        (folder / f"good {index:02d}.mp4").symlink_to(good)
    listing = list_clips(folder)
    keys = [entry.key for entry in listing.entries]
    quarantine = Quarantine(len(keys), path=tmp_path / "quarantine.jsonl")

    def every_clip() -> list[int]:
        with Decoder() as decoder:
            return [
                first_good(
                    index,
                    keys,
                    lambda i: decoder.decode(listing.entries[i].media).num_frames,
                    quarantine=quarantine,
                )
                for index in range(len(keys))
            ]

    if share > 0.1:
        with pytest.raises(FileError, match="of 30 clips are bad, and at most 10% may be: "):
            every_clip()
        return
    assert every_clip() == [4] * 40
    reasons = list(quarantine.reasons.values())
    assert len(reasons) == len(bad) == 2
    for path, reason in zip(bad, reasons, strict=True):
        assert path.name in reason
