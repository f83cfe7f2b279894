"""The report of ``sweep.py``: a table that says what was not measured, and charts of cost by frames."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cells import FRAMES, SIZES, THREADS, WAYS, Cell
from measure import command, processor

from animatediff.evaluation.paper.chart import Chart, Panel, Point, Series
from animatediff.evaluation.paper.draw import write_chart

Done = Mapping[Cell, Mapping[str, Any]]
COLUMNS = (
    "size",
    "frames",
    "threads",
    "ours, s",
    "ours, s a frame",
    "diffusers, s",
    "diffusers / ours",
    "ours, share of the ceilings",
    "peak, GiB",
)


def write_report(done: Done, options: argparse.Namespace) -> Path:
    """Write ``denoising-sweep-PRECISION_cpu_DATE.md`` and its charts; one of the same day is replaced.

    Returns:
        The path of the Markdown file.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date().isoformat()
    stem = f"denoising-sweep-{options.precision}_cpu_{today}"
    path = options.out / f"{stem}.md"
    chart = chart_of(done, precision=options.precision, width=options.width)
    images = [each.name for each in write_chart(chart, path.with_suffix(".svg"))] if chart else []
    path.write_text(
        "\n".join(markdown(done, precision=options.precision, width=options.width, images=images)),
        encoding="utf-8",
    )
    return path


def markdown(
    done: Done, *, precision: str, width: float, images: Sequence[str] = ()
) -> Iterator[str]:
    """The lines of the report."""
    own = {
        cell: entry
        for cell, entry in done.items()
        if (cell.precision, cell.width) == (precision, width)
    }
    yield "# Cost of a denoising step by size, frames and threads\n"
    yield (
        f"One step with classifier-free guidance (a batch of two) in {precision}, {width:g} times "
        f"Stable Diffusion 1.5's channels, random weights, {processor()}. Each cell is a process of "
        "its own, ours and diffusers' step in turn on the same weights; above 1, ours is faster. "
        "The last column is the memory that the process took at most, weights and both ways "
        "together.\n"
    )
    yield f"`{command()}`\n"
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for size in SIZES:
        for frames in FRAMES:
            for threads in THREADS:
                yield _row(Cell(precision, size, frames, threads, width), own)
    yield ""
    light = [name for name in images if not name.endswith("-dark.svg")]
    dark = [name for name in images if name.endswith("-dark.svg")]
    yield from (f"![Chart: seconds of a step by frames]({name}#only-light)" for name in light)
    yield from (f"![Chart: seconds of a step by frames]({name}#only-dark)" for name in dark)
    yield "\nHow each cell was measured:\n"
    for cell, entry in sorted(own.items()):
        yield f"- {_name(cell)}: {_how(entry)}"
    yield ""


def _row(cell: Cell, done: Done) -> str:
    head = f"| {cell.size} | {cell.frames} | {cell.threads} |"
    entry = done.get(cell)
    if entry is None or "failed" in entry:
        said = "not measured" if entry is None else str(entry["failed"])
        return f"{head} {said} |{' |' * (len(COLUMNS) - 4)}"
    seconds = entry["seconds"]
    ours, theirs = (seconds.get(way) for way in WAYS)
    columns = (
        "not measured" if ours is None else f"{ours:.3g}",
        "" if ours is None else f"{ours / cell.frames:.3g}",
        "not measured" if theirs is None else f"{theirs:.3g}",
        f"**{theirs / ours:.2f}**" if ours and theirs else "",
        "" if ours is None else f"{_least(entry) / ours:.0%}",
        f"{entry['peak_gib']:.1f}",
    )
    return f"{head} {' | '.join(columns)} |"


def _least(entry: Mapping[str, Any]) -> float:
    """Seconds of the step's work at the ceilings measured beside it."""
    reached = entry["ceilings_gflops"]
    return sum(count / reached[kind] for kind, count in entry["gflop"].items() if count)


def _name(cell: Cell) -> str:
    threads = "1 thread" if cell.threads == 1 else f"{cell.threads} threads"
    return f"{cell.size} px, {cell.frames} frames, {threads}"


def _how(entry: Mapping[str, Any]) -> str:
    if "failed" in entry:
        return f"{entry['failed']}, commit {entry['commit']}."
    cpu = ", ".join(f"{way} {value:.3g}" for way, value in entry["cpu_seconds"].items())
    apart = entry["relative_difference"]
    rounds = "1 round" if entry["rounds"] == 1 else f"{entry['rounds']} rounds"
    return (
        f"{entry['date']}, commit {entry['commit']}, {rounds}, load {entry['load']:.1f}; processor "
        f"seconds {cpu}{'' if apart is None else f'; outputs differ by {apart:.1e} of their size'}."
    )


def chart_of(done: Done, *, precision: str, width: float) -> Chart | None:
    """Seconds of a step by frames, a panel for each size; ``None`` if nothing was measured."""
    panels: list[Panel] = []
    for size in SIZES:
        series = [
            Series(f"{way}, {threads} thread{'s' if threads > 1 else ''}", points)
            for threads in THREADS
            for way in WAYS
            if (points := tuple(_points(done, precision, size, threads, width, way)))
        ]
        if series:
            panels.append(Panel(f"{size} px", "frames", "seconds a step", tuple(series)))
    return Chart(tuple(panels)) if panels else None


def _points(
    done: Done, precision: str, size: int, threads: int, width: float, way: str
) -> Iterator[Point]:
    for frames in FRAMES:
        entry = done.get(Cell(precision, size, frames, threads, width), {})
        value = entry.get("seconds", {}).get(way)
        if value is not None:
            yield Point(frames, value, value, value)
