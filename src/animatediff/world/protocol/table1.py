"""Table 1 on the built-in world: three personalised models, thirty prompts each, ten driving clips."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.motion_metrics import FLOW_RATE
from animatediff.evaluation.table1.plan import Driving, Personal, Plan, Settings
from animatediff.runtime import seeded
from animatediff.video import Video
from animatediff.world.art.emoji import STYLES
from animatediff.world.protocol.motion import choose_clips, real_frames

PROMPTS, CLIPS = 30, 10
PER_CLIP = PROMPTS // CLIPS
"""Prompts of each model that share a driving clip."""
STYLE = "noto"
"""The held-out style of the shipped personalised models."""
MORE = "high-contrast"
"""A second held-out style, for which a LoRA may be given."""


def world_plan(
    clips: Iterable[Sample],
    *,
    folder: Path,
    embedding: str = STYLE,
    more: Path | None = None,
    motion: str = "emoji",
    settings: Settings | None = None,
    prompts: int = PROMPTS,
    num_clips: int = CLIPS,
) -> Plan:
    """Return the plan of the built-in world, and write its driving clips.

    Prompts are captions of real clips in the words of the held-out style. Driving clips are other
    clips, so that no prompt describes its own driving clip. Fewer prompts and driving clips are the
    first ones of more, each prompt with the same seed and the same clip: a run of 15 prompts and 5
    clips can be extended to 30 and 10. Driving clips that no prompt uses are left out.

    Args:
        clips: the world's clips.
        folder: where the driving clips are written, as lossless APNG.
        embedding: a textual inversion of the style, a name or a file, whose word is ``<noto>``.
        more: a LoRA of the second held-out style.
        motion: the motion module.
        settings: how the methods draw.
        prompts: how many each model has.
        num_clips: how many driving clips there are. Every three prompts share one; with fewer than
            that, the clips are used again from the first on.

    Raises:
        InputError: there are no clips to train on, no prompt or no driving clip is asked for, or
            there are too few clips for a driving clip beside the prompts.
    """
    if prompts < 1 or num_clips < 1:
        raise InputError(
            f"{prompts} prompts and {num_clips} driving clips leave nothing to compare; "
            "give 1 or more of each."
        )
    settings = settings or Settings()
    shuffled = _shuffled(clips, seed=settings.seed)
    asked = shuffled[:prompts]
    # Counted from the end, so that neither more prompts nor more clips change the clips before them.
    drives = shuffled[prompts:][::-1][: min(num_clips, -(-prompts // PER_CLIP))]
    if not drives:
        raise InputError(
            f"The world has {len(shuffled)} clips, too few for {prompts} prompts and a driving clip; "
            "ask for fewer prompts."
        )
    driving = tuple(number // PER_CLIP % len(drives) for number in range(len(asked)))
    phrases = {style.name: style.phrase for style in STYLES}

    def prompts_in(phrase: str) -> tuple[str, ...]:
        return tuple(
            str(c.meta["caption"]).replace(str(c.meta["style_phrase"]), phrase) for c in asked
        )

    plain = prompts_in(phrases[STYLE])
    models = [
        Personal("Noto LoRA", plain, loras=(f"{STYLE}:1",)),
        Personal("Noto fine-tune", plain, model="emoji-noto"),
        Personal("<noto>", prompts_in(f"<{STYLE}> style"), embeddings=(embedding,)),
    ]
    if more is not None:
        words = prompts_in(phrases[MORE])
        models.append(Personal("High contrast LoRA", words, loras=(f"{more}:1",)))
    models = [replace(model, motion=motion, driving=driving) for model in models]
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Driving] = []
    for clip in drives:
        frames = real_frames(clip, count=settings.num_frames)
        path = folder / f"{clip.meta['hexcode']}-{settings.num_frames}.apng"
        if not path.exists():
            Video(frames, Fraction(FLOW_RATE)).save(path)
        written.append(Driving(str(path), str(clip.meta["caption"])))
    return replace(Plan(tuple(models), tuple(written)), settings=settings)


def _shuffled(clips: Iterable[Sample], *, seed: int) -> tuple[Sample, ...]:
    known = choose_clips(clips, count=sys.maxsize, seed=seed)
    order = np.random.default_rng(seeded("table1", seed).initial_seed()).permutation(len(known))
    return tuple(known[number] for number in order)
