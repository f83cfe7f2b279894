"""How ``animatediff evaluate`` measures control networks: by edges and pictures of held-out clips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animatediff.apps.questions.drawing import draw_of, painter_of
from animatediff.apps.questions.inputs import SHOWN, bar, chosen_clips, read_scorer, show

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options
    from animatediff.apps.progress import Progress
    from animatediff.evaluation.reports import Report
    from animatediff.world.protocol.control import DrawGuided
    from animatediff.world.protocol.subjects import Frames

NONE, AUTO = "none", "auto"


def control(options: Options, progress: Progress) -> Report:
    """Measure whether edges follow given ones, and whether a picture that moves stays itself.

    Raises:
        InputError: there is no such network, or none was named.
        FileError: a network's file is broken or something else.
    """
    from animatediff.video.preprocess import preprocessed
    from animatediff.weights.finding.builtin import resolve
    from animatediff.world.protocol.control import judge_control
    from animatediff.world.protocol.motion import real_frames

    for name in (options.control, options.image):
        if name not in (NONE, AUTO):
            resolve("control", name)
    scorer, clips = read_scorer(options), chosen_clips(options)
    guides = [real_frames(clip, count=options.frames) for clip in clips]
    hinted = pictured = None
    if options.control != NONE:
        asked = {"controls": (f"{options.control}:1",), "control_preprocess": (options.hint,)}
        hinted = _guided(options, asked, guides, given=lambda at: {"control_inputs": (str(at),)})
    if options.image != NONE:
        loaded = {} if options.image == AUTO else {"controls": (f"{options.image}:1",)}
        pictured = _guided(options, loaded, guides, given=lambda at: {"image": str(at / _name(0))})
    free = draw_of(options)
    report = judge_control(
        free,
        clips,
        scorer=scorer,
        hinted=hinted,
        pictured=pictured,
        hint=options.hint,
        num_frames=options.frames,
        seed=options.seed,
        watch=bar(progress, "animate"),
    )
    times = [round(share * (options.frames - 1)) for share in (0, 0.33, 0.67, 1)]
    rows: dict[str, list[Any]] = {}
    for subject, guide in list(zip(report.subjects, guides, strict=True))[:SHOWN]:
        label, seed = subject.prompt, subject.seed
        if hinted is not None:
            hints = preprocessed(guide[times], name=options.hint)
            rows[f"{label}: hints"] = list(hints)
            rows[f"{label}: {options.control}"] = list(hinted(label, seed=seed, guide=guide)[times])
        if pictured is not None:
            rows[f"{label}: picture"] = list(pictured(label, seed=seed, guide=guide)[times])
        rows[f"{label}: text alone"] = list(free(label, seed=seed)[times])
    show(options, rows, columns=[f"frame {time}" for time in times])
    return report


def _guided(
    options: Options,
    asked: dict[str, Any],
    guides: Sequence[Frames],
    *,
    given: Callable[[Path], dict[str, Any]],
) -> DrawGuided:
    """The model with a control network, whose input is written beside the cached drawings."""
    painter = painter_of(options, **asked, **given(_written(options, guides[0])))

    def draw(prompt: str, *, seed: int, guide: Frames) -> Frames:
        return painter(**given(_written(options, guide)))(prompt, seed=seed)

    return draw


def _written(options: Options, frames: Frames) -> Path:
    """A folder with the frames as pictures, named by their content."""
    from PIL import Image

    digest = hashlib.sha256(frames.tobytes()).hexdigest()[:24]
    folder = options.work / "evaluation" / "guides" / f"{digest}-{len(frames)}"
    for number, frame in enumerate(frames):
        path = folder / _name(number)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(path)
    return folder


def _name(number: int) -> str:
    return f"{number:04d}.png"
