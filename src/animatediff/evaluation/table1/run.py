"""Run Table 1: draw, measure and add up; everything that was done before is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from animatediff.config import from_table
from animatediff.errors import InputError
from animatediff.evaluation.clip_marks import ClipMarks, Metrics, held_still
from animatediff.evaluation.judges.judge import Frames, Seen
from animatediff.evaluation.reports import as_json
from animatediff.evaluation.table1.brought import Brought
from animatediff.evaluation.table1.drawing import Kept, PersonalModel, draw_all, driving_video
from animatediff.evaluation.table1.plan import DRAWN, METHODS, OURS, Item, Plan
from animatediff.evaluation.table1.report import FROZEN, REAL, Scored, Table1Report, report_on
from animatediff.runtime import Runtime
from animatediff.video import Video


@dataclass(frozen=True)
class Show:
    """Receives what the page shows.

    Attributes:
        animation: called with method, item and video.
        references: called with an item and a picture of its references side by side.
        driving: called with a number and a driving clip.
    """

    animation: Callable[[str, Item, Video], None]
    references: Callable[[Item, Image.Image], None]
    driving: Callable[[int, Video], None]


Watch = Callable[[int, int], None]
_References = dict[int, Mapping[str, Seen]]


def run_table1(
    plan: Plan,
    *,
    work: Path,
    metrics: Metrics,
    runtime: Runtime,
    methods: tuple[str, ...] = METHODS,
    brought: tuple[Brought, ...] = (),
    show: Show,
    watch: Watch,
) -> Table1Report:
    """Draw and measure everything that a plan compares.

    Args:
        plan: what is compared.
        work: where drawings and measurements are kept.
        metrics: the judging networks.
        runtime: device and precision.
        methods: names of ``DRAWN``.
        brought: clips of other systems.
        show: receives what the page shows.
        watch: told how many clips are measured, of how many.

    Raises:
        InputError: there is neither a method nor a system, or as drawing does.
        FileError, MemoryLimitError, OutputError, NumericalError: as drawing does.
    """
    items = list(plan.items())
    frozen = _frozen_of(methods, brought)
    counts = dict.fromkeys(methods, len(items)) | {each.name: len(each.files) for each in brought}
    total = sum(counts.values()) + counts[frozen] + len(plan.clips)
    marks = KeptMarks(work / "marks", metrics)
    scored: list[Scored] = []
    fps = Fraction(plan.settings.fps)

    def add(
        method: str, item: Item, frames: Frames, rate: Fraction, seen: Mapping[str, Seen]
    ) -> None:
        shown = [(method, frames)]
        if method == frozen:
            shown.append((FROZEN, held_still(frames)))
        for name, each in shown:
            measured = marks.of(each, prompt=item.prompt, fps=rate, references=seen)
            scored.append(Scored(name, item.model, item.index, item.prompt, measured))
            watch(len(scored), total)

    side = 0
    for personal in plan.models:
        model = PersonalModel(personal, settings=plan.settings, kept=Kept.at(work), runtime=runtime)
        own = [item for item in items if item.model == personal.name]
        references: _References = {}
        for item in own:
            pictures = model.references(item)
            side = pictures.shape[1]
            references[item.index] = metrics.references(pictures)
            show.references(item, Image.fromarray(np.concatenate(list(pictures), axis=1)))

        def drawn(
            method: str,
            item: Item,
            frames: Frames,
            seen: dict[int, Mapping[str, Seen]] = references,
        ) -> None:
            show.animation(method, item, Video(frames, fps))
            add(method, item, frames, fps, seen[item.index])

        draw_all(model, own, plan.clips, methods=methods, drawn=drawn)
        for system in brought:
            for item in own:
                path = system.files.get((item.model, item.index))
                if path is not None:
                    video = Video.load(path)
                    show.animation(system.name, item, video)
                    add(system.name, item, video.frames, video.fps, references[item.index])
    for number, clip in enumerate(plan.clips):
        video = driving_video(clip, settings=plan.settings, side=side)
        show.driving(number, video)
        measured = marks.of(video.frames, prompt=clip.caption, fps=video.fps, references=None)
        scored.append(Scored(REAL, "", number, clip.caption, measured))
        watch(len(scored), total)
    dino = metrics.dino
    return report_on(
        plan,
        _in_order(scored, methods, brought),
        judges={judge.name: judge.digest for judge in metrics.judges},
        dino={} if dino is None else {dino.name: dino.digest},
        flow=metrics.flow_name,
        frozen=frozen,
        missing={system.name: system.missing for system in brought if system.missing},
    )


class KeptMarks:
    """Measurements in a folder, by the content of the clip and the networks that measured it."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self.folder = folder
        self.metrics = metrics

    def of(
        self,
        frames: Frames,
        *,
        prompt: str,
        fps: Fraction,
        references: Mapping[str, Seen] | None,
    ) -> ClipMarks:
        """Return the metrics of a clip, measured now or before."""
        digest = hashlib.sha256(f"{self.metrics.digest()}/{prompt}/{fps}/{frames.shape}".encode())
        digest.update(np.ascontiguousarray(frames).tobytes())
        for seen in (references or {}).values():
            digest.update(seen.pictures.contiguous().numpy().tobytes())
        path = self.folder / f"{digest.hexdigest()[:32]}.json"
        if path.exists():
            return from_table(json.loads(path.read_text()), ClipMarks, source=str(path))
        marks = self.metrics.measure(frames, prompt=prompt, fps=fps, references=references)
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(as_json(marks)))
        temporary.replace(path)
        return marks


def _frozen_of(methods: tuple[str, ...], brought: tuple[Brought, ...]) -> str:
    """Return whose first frames are the frozen control: AnimateDiff's if it is drawn."""
    names = [*(name for name in (OURS, *DRAWN) if name in methods), *(b.name for b in brought)]
    if not names:
        raise InputError("Nothing is compared; give --methods a method, or bring clips.")
    return names[0]


def _in_order(
    scored: list[Scored], methods: tuple[str, ...], brought: tuple[Brought, ...]
) -> Iterator[Scored]:
    names = [m for m in DRAWN if m in methods] + [each.name for each in brought]
    for name in (*names, FROZEN, REAL):
        yield from (each for each in scored if each.method == name)
