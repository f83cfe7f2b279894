"""Inputs of the questions of ``animatediff evaluate``, and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options
    from animatediff.apps.progress import Progress
    from animatediff.data.shards import Sample
    from animatediff.evaluation.presenting.figures import Frame
    from animatediff.world.protocol.subjects import Subject, Watch
    from animatediff.world.scoring.scorer import Scorer

SHOWN = 6
"""Prompts of a figure."""


def read_scorer(options: Options) -> Scorer:
    """Load the scorer that `evaluate scorer` trained in the world folder, or the package's.

    Raises:
        FileError: this installation has none, or it is of another version.
    """
    from animatediff.world.scoring.scorer import Scorer, scorer_folder

    return Scorer.load(scorer_folder(options.work))


def all_stills(options: Options) -> Iterator[Sample]:
    """Return every still of every style."""
    from animatediff.data.shards import read_shards
    from animatediff.world.scoring.stored_features import style_folders

    for folder in style_folders(options.work / "stills"):
        yield from read_shards(folder)


def chosen_clips(options: Options) -> tuple[Sample, ...]:
    """Return the clips whose captions are drawn; by default held-out ones where motion was trained."""
    from animatediff.data.shards import read_shards
    from animatediff.world.protocol.motion import choose_clips

    held_out = options.question in ("adapter", "motion-lora", "single-clip", "control")
    return choose_clips(
        read_shards(options.work / "clips"),
        count=options.count or (40 if held_out else 100),
        seed=options.seed,
        splits=options.splits or (("val", "test") if held_out else ("train",)),
    )


def chosen_subjects(options: Options) -> tuple[Subject, ...]:
    """Return the subject to draw for each of these clips."""
    from animatediff.world.protocol.subjects import Subject

    return tuple(Subject.of(clip, seed=options.seed) for clip in chosen_clips(options))


def show(options: Options, rows: Mapping[str, Sequence[Frame]], *, columns: Sequence[str]) -> None:
    """Write a picture with some of the judged drawings beside the numbers."""
    from animatediff.errors import OutputError, reason_of
    from animatediff.evaluation.presenting.figures import labelled_grid

    path = options.results / f"{options.question}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        labelled_grid(rows, columns=columns).save(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {reason_of(error)}.") from None


def bar(progress: Progress, name: str) -> Watch:
    """A progress stage that learns its length with the first item."""
    total = 0

    def watch(done: int, of: int) -> None:
        nonlocal total
        if done <= 1 or of != total:
            progress.stage(name, total=of)
            total = of
        progress.at(done)

    return watch
