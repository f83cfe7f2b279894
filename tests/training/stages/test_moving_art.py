"""Kinds of clips to learn motion from: their shares, their words, and where they begin."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.runtime import seeded
from animatediff.world.art.captions import caption_of
from animatediff.world.stages import moving_art
from animatediff.world.stages.latents import LatentClips, joined
from animatediff.world.stages.mixture import Kind, mixed
from animatediff.world.stages.moving_art import parse_mix, training_clips

FACTS = {"label": "frog", "tags": [], "style_phrase": "flat style"}


def clips(value: float, lengths: list[int], *, loops: bool = True) -> LatentClips:
    """Clips of constant latents, each counting its frames up from ``value``."""
    frames = torch.cat([value + torch.arange(n).float() for n in lengths])
    sizes = torch.tensor(lengths)
    return LatentClips(
        frames[:, None, None, None].half(),
        sizes.cumsum(0) - sizes,
        sizes,
        [{**FACTS, "frames": n, "loops": loops} for n in lengths],
    )


def test_each_kind_is_drawn_as_often_as_its_share_says() -> None:
    mixture = mixed([Kind("a", 0.25, clips(0, [2, 2, 2])), Kind("b", 0.75, clips(100, [3]))])
    drawn = mixture.draw(torch.zeros(4000, dtype=torch.long), seeded("shares"))
    assert (drawn == 3).float().mean() == pytest.approx(0.75, abs=0.03)
    assert {0, 1, 2, 3} == set(drawn.tolist())
    again = mixture.draw(torch.zeros(4000, dtype=torch.long), seeded("shares"))
    assert torch.equal(drawn, again)


def test_joined_clips_are_shown_as_they_were_alone() -> None:
    one, two = clips(0, [4, 5]), clips(100, [6])
    both = joined([one, two])
    for index, (part, place) in enumerate([(one, 0), (one, 1), (two, 0)]):
        shown, alone = (
            c.footage(i, num_frames=3, generator=seeded("window")).mean
            for c, i in ((both, index), (part, place))
        )
        assert torch.equal(shown, alone)


def test_a_clip_that_does_not_loop_is_shown_from_its_first_frame() -> None:
    seen = clips(7, [8], loops=False).footage(0, num_frames=8, generator=seeded("begin"))
    assert seen.mean.flatten().tolist() == [7, 8, 9, 10, 11, 12, 13, 14]


def test_mixes_that_say_nothing_sensible_are_refused() -> None:
    assert parse_mix(()) == [("clips", 1.0)]
    assert parse_mix(("clips:0.5", "stills:0.5")) == [("clips", 0.5), ("stills", 0.5)]
    for wrong in ("clips", "birds:0.5", "clips:2", "clips:0", "clips:nan"):
        with pytest.raises(InputError, match="--mix"):
            parse_mix((wrong,))
    with pytest.raises(InputError, match="above 0 and add up"):
        mixed([Kind("a", 0.5, clips(0, [1]))])


def test_clips_of_acting_stills_always_say_what_they_do() -> None:
    facts = {
        "label": "frog",
        "style_phrase": "flat style",
        "tags": [],
        "motion": "bouncing",
        "actions": ["bouncing", "jumping"],
    }
    captions = {caption_of(facts, draw=random.Random(i)) for i in range(100)}
    assert "a frog bouncing, flat style" in captions
    assert all("bouncing" in c or "jumping" in c for c in captions)


def test_real_clips_are_mirrored_and_stills_stand_still(
    tmp_path: Path, written_world: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(written_world, work)
    mixture = training_clips(work, ("clips:0.5", "stills:0.5"))
    real, still = mixture.counts
    told = mixture.clips.meta
    assert sum(bool(m.get("mirrored")) for m in told[:real]) * 2 == real
    assert all(m["motion"] == "standing still" for m in told[real:])
    assert not any(m["held_out_style"] for m in told)
    assert all(m["split"] == "train" for m in told)
    window = mixture.clips.footage(real, num_frames=4, generator=seeded("still")).mean
    assert torch.equal(window[0], window[3])
    assert still


def test_a_bank_is_made_in_slices_and_read_back(
    tmp_path: Path, written_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(written_world, work)
    made: list[int] = []

    class Bank:
        def __init__(self, packages: Path, *, moved: str) -> None:
            assert packages == work / "packages"
            assert moved == "actions"

        def samples(self, first: int, count: int) -> list[Sample]:
            made.append(first)
            meta = {"frames": 2, "actions": ["spinning"]}
            return [Sample(f"{i}", meta, np.zeros((64, 32, 4), np.uint8)) for i in range(count)]

    monkeypatch.setattr(moving_art, "ActedClips", Bank)
    monkeypatch.setattr(moving_art, "SLICE", 3)
    monkeypatch.setattr(moving_art, "SLICES", {"actions": 2})
    assert len(moving_art.read_bank(work, "actions")) == 6
    assert len(moving_art.read_bank(work, "actions")) == 6
    assert made == [0, 3]
