"""Table 1 on the built-in world: three personalised models, thirty prompts each, ten driving clips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from animatediff.data.shards import Sample
from animatediff.evaluation.motion_metrics import FLOW_RATE
from animatediff.evaluation.table1.plan import Driving, Personal, Plan, Settings
from animatediff.video import Video
from animatediff.world.art.emoji import STYLES
from animatediff.world.protocol.motion import choose_clips, real_frames

PROMPTS, CLIPS = 30, 10
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
    clips, so that no prompt describes its own driving clip.

    Args:
        clips: the world's clips.
        folder: where the driving clips are written, as lossless APNG.
        embedding: a textual inversion of the style, a name or a file, whose word is ``<noto>``.
        more: a LoRA of the second held-out style.
        motion: the motion module.
        settings: how the methods draw.
        prompts: how many each model has.
        num_clips: how many driving clips there are.
    """
    settings = settings or Settings()
    chosen = choose_clips(clips, count=prompts + num_clips, seed=settings.seed)
    asked, drives = chosen[:prompts], chosen[prompts:]
    phrases = {style.name: style.phrase for style in STYLES}

    def prompts_in(phrase: str) -> tuple[str, ...]:
        return tuple(
            str(c.meta["caption"]).replace(str(c.meta["style_phrase"]), phrase) for c in asked
        )

    plain = prompts_in(phrases[STYLE])
    models = [
        Personal("Noto LoRA", plain, motion=motion, loras=(f"{STYLE}:1",)),
        Personal("Noto fine-tune", plain, model="emoji-noto", motion=motion),
        Personal("<noto>", prompts_in(f"<{STYLE}> style"), motion=motion, embeddings=(embedding,)),
    ]
    if more is not None:
        words = prompts_in(phrases[MORE])
        models.append(Personal("High contrast LoRA", words, motion=motion, loras=(f"{more}:1",)))
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Driving] = []
    for clip in drives:
        frames = real_frames(clip, count=settings.num_frames)
        path = folder / f"{clip.meta['hexcode']}-{settings.num_frames}.apng"
        if not path.exists():
            Video(frames, Fraction(FLOW_RATE)).save(path)
        written.append(Driving(str(path), str(clip.meta["caption"])))
    return replace(Plan(tuple(models), tuple(written)), settings=settings)
