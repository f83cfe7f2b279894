"""How ``animatediff evaluate`` measures MotionLoRAs: camera moves, and single clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.apps.questions.drawing import painter_of
from animatediff.apps.questions.inputs import SHOWN, bar, chosen_subjects, read_scorer, show

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options
    from animatediff.apps.progress import Progress
    from animatediff.evaluation.reports import Report
    from animatediff.world.protocol.subjects import Draw, Frames


def motion_lora(options: Options, progress: Progress) -> Report:
    """Measure whether each MotionLoRA moves the camera as trained: alone, at half scale, in pairs.

    Raises:
        InputError: no file names a camera move, or a pair names a missing one.
    """
    from animatediff.data.camera import parse_pattern
    from animatediff.errors import InputError
    from animatediff.runtime import seeded
    from animatediff.world.art.clips import read_world_clips
    from animatediff.world.art.emoji import SIZE
    from animatediff.world.protocol.motion_lora import Move, Together, judge_motion_loras
    from animatediff.world.stages.defaults import MARGIN

    files = _telling(options, "pattern", of="which camera move it learned")
    at = _at_scales(options, {name: path for name, (path, _) in files.items()})
    filmed: dict[str, tuple[Frames, ...]] = {}
    for pattern in {pattern for _, pattern in files.values()}:
        clips = read_world_clips(
            options.work / "clips", size=SIZE, count=50, pattern=pattern, margin=MARGIN
        )
        draws = (seeded("judge", i, options.seed) for i in range(len(clips)))
        filmed[pattern] = tuple(
            clips.footage(i, num_frames=options.frames, generator=draw).frames
            for i, draw in enumerate(draws)
        )
    together: dict[str, Together] = {}
    left_out = options.together == type(options).together
    for pair in options.together:
        names = pair.split("+")
        unknown = [name for name in names if name not in files]
        if unknown and left_out:
            continue
        if unknown:
            raise InputError(
                f"There is no MotionLoRA {unknown[0]!r} here, only {', '.join(files)}."
            )
        patterns = (parse_pattern(files[name][1])[0] for name in names)
        together[pair] = Together(tuple(patterns), at(**dict.fromkeys(names, 1.0)))
    moves = {
        name: Move(
            parse_pattern(pattern)[0],
            at(**{name: 1.0}),
            at(**{name: 0.5}) if name in options.halved else None,
            filmed[pattern],
        )
        for name, (_, pattern) in files.items()
    }
    report = judge_motion_loras(
        at(),
        moves,
        chosen_subjects(options),
        together=together,
        scorer=read_scorer(options),
        watch=bar(progress, "animate"),
    )
    first = report.subjects[0]
    times = [round(share * (options.frames - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
    shown = {
        name: [move.draw(first.prompt, seed=first.seed)[time] for time in times]
        for name, move in moves.items()
    }
    show(options, shown, columns=[f"frame {time}" for time in times])
    return report


def single_clip(options: Options, progress: Progress) -> Report:
    """Measure whether things move as the one clip that each MotionLoRA was trained on.

    Raises:
        InputError: no file names a single clip.
        FileError: a file's clip is not a number.
    """
    from animatediff.errors import FileError
    from animatediff.runtime import seeded
    from animatediff.world.art.clips import read_world_clips
    from animatediff.world.art.emoji import SIZE
    from animatediff.world.protocol.single_clip import Learned, judge_single_clips

    files = _telling(options, "clip", of="which single clip it learned from")
    at = _at_scales(options, {name: path for name, (path, _) in files.items()})
    motions: dict[str, Learned] = {}
    for name, (path, number) in files.items():
        if not number.isdecimal():
            raise FileError(f"{path} gives its clip as {number:.40}, which is not a number.")
        clip = read_world_clips(
            options.work / "clips", size=SIZE, first=int(number), count=1, from_start=True
        ).footage(0, num_frames=options.frames, generator=seeded("judge", options.seed))
        motions[name] = Learned(at(**{name: 1.0}), clip.frames)
    report = judge_single_clips(
        at(), motions, chosen_subjects(options), watch=bar(progress, "animate")
    )
    times = range(0, options.frames, 2)
    shown = {name: [motion.clip[time] for time in times] for name, motion in motions.items()}
    shown |= {
        f"{name}: {s.prompt}": [motion.draw(s.prompt, seed=s.seed)[time] for time in times]
        for name, motion in motions.items()
        for s in report.subjects[:SHOWN]
    }
    show(options, shown, columns=[f"frame {time}" for time in times])
    return report


def _at_scales(options: Options, files: Mapping[str, Path]) -> Callable[..., Draw]:
    """Return the model with some of these MotionLoRAs, each at its scale; without any, unchanged."""

    @cache
    def painter(*names: str) -> Callable[..., Draw]:
        # Nothing else is loaded, so that the cache of one MotionLoRA does not depend on the others.
        return painter_of(options, motion_loras=tuple(f"{files[name]}:1" for name in names))

    def at(**scales: float) -> Draw:
        return painter(*scales)(
            motion_loras=tuple(f"{files[name]}:{scale!r}" for name, scale in scales.items())
        )

    return at


def _telling(options: Options, fact: str, *, of: str) -> dict[str, tuple[Path, str]]:
    """Return the MotionLoRAs to measure by file name, with the metadata of each."""
    from animatediff.errors import InputError
    from animatediff.weights.storage.files import read_header

    folder = options.work / "world" / "motion-lora"
    paths = options.motion_loras or tuple(sorted(folder.glob("*.safetensors")))
    stated = {path.stem: (path, read_header(path).metadata.get(fact, "")) for path in paths}
    files = {name: found for name, found in stated.items() if found[1]}
    if not files:
        where = "among them" if options.motion_loras else f"in {folder}"
        raise InputError(f"There is no MotionLoRA {where} that says {of}.")
    return files
