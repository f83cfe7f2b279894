"""``animatediff grid``: one animation for each pair of values, side by side in a labelled table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from animatediff.apps.commands.animate import AnimateOptions, requests_of
from animatediff.apps.destination import GRID, Destination, plan_destination, slug
from animatediff.apps.many.axes import Axis, parse_axis
from animatediff.apps.naming import hash_of
from animatediff.apps.options.declared import FieldsOf, Given
from animatediff.apps.progress import open_progress
from animatediff.errors import InputError, OutputError, reason_of
from animatediff.options.declaration import Option, declared
from animatediff.sampling.request import AnimationRequest

if TYPE_CHECKING:
    from animatediff.apps.many.plan import Plan
    from animatediff.apps.many.work import Outcome

FORMATS = "mp4,webp"
_WITHOUT = ("formats", "name", "plays", "preview", "save_config")


@dataclass(frozen=True)
class GridOptions:
    """What ``animatediff grid`` takes: its two sides, and the options of ``animate``."""

    animate: Annotated[Given, FieldsOf((AnimationRequest, AnimateOptions), without=_WITHOUT)] = (
        field(default_factory=Given)
    )
    x: Annotated[
        str | None,
        Option(
            "The field that changes from column to column, and its values: 'guidance=3,5,7'. Use | "
            "between values that contain commas.",
            group="Grid",
            metavar="FIELD=LIST",
            foreign=("x-axis", "x-values"),
            common=True,
        ),
    ] = None
    y: Annotated[
        str | None,
        Option(
            "The field that changes from row to row: 'motion-lora=none,zoom-in:1'.",
            group="Grid",
            metavar="FIELD=LIST",
            foreign=("y-axis", "y-values"),
            common=True,
        ),
    ] = None
    formats: Annotated[
        str,
        Option(
            "Formats of the table, with commas.",
            group="Grid",
            name="format",
            metavar="LIST",
        ),
    ] = FORMATS


def grid(options: GridOptions) -> int:
    """Draw every cell that is not drawn yet, and write the table, with JSON beside it.

    Returns:
        0, or the exit code of the first cell that failed.

    Raises:
        InputError: an axis or an option cannot be used.
        OutputError: the folder cannot be written.
    """
    from animatediff.apps.many.batch import formats_of, make_folder, run_plan
    from animatediff.apps.many.entries import Entry
    from animatediff.apps.many.plan import plan_batch
    from animatediff.video import FORMATS as KNOWN

    if options.x is None:
        raise InputError('There is no --x; name a field and its values: --x "guidance=3,5,7".')
    columns, rows = parse_axis(options.x, option="--x"), parse_axis(options.y, option="--y")
    shared = columns.changes[0].keys() & rows.changes[0].keys()
    if shared:
        raise InputError(f"--x and --y both change {next(iter(shared))}; choose another for one.")
    settings = _settings(options, first={**columns.changes[0], **rows.changes[0]})
    base = _base(settings)
    cells = requests_of_cells(base, columns, rows)
    text = base.prompt or next(iter(base.prompts.values()))
    formats = ",".join(formats_of(options.formats))
    # The same grid has the same name, so that an interrupted one is found again.
    key = hashlib.sha256("".join(hash_of(cell) for row in cells for cell in row).encode())
    output = settings.output or Path(f"{slug(text)}-grid-{key.hexdigest()[:8]}")
    if output.suffix.lstrip(".").lower() in KNOWN:
        output = output.with_suffix("")
    destination = plan_destination(output, formats=formats, known=KNOWN, name="grid")
    destination.check(frames=2)
    folder = destination.folder / f"{destination.stem}-cells"
    entries = [Entry(cell, "the grid") for row in cells for cell in row]
    plan = plan_batch(entries, folder=folder, formats=("webp",), template="cell-{hash}")
    make_folder(folder)
    plan.check()
    with open_progress(settings.progress) as progress, plan.locked():
        size = f"{len(rows.words)} x {len(columns.words)} cells"
        progress.tell("plan", f"{size}, {len(plan.pending())} to draw.", {"cells": len(plan.items)})
        outcome = run_plan(
            plan,
            machine=settings,
            progress=progress,
            title=f"{destination.stem}: cells",
        )
        progress.stage("write", total=len(destination.formats))
        for path in _write(cells, columns, rows, plan=plan, outcome=outcome, at=destination):
            progress.tell("written", str(path), {"path": str(path)})
    return next((code for _, code in outcome.failures.values()), 0)


def requests_of_cells(
    base: AnimationRequest, columns: Axis, rows: Axis
) -> list[list[AnimationRequest]]:
    """The request of every cell, by row and then by column.

    Raises:
        InputError: a value is out of range, or does not go with the others.
    """
    return [
        [replace(base, **across, **down).validated() for across in columns.changes]
        for down in rows.changes
    ]


def _settings(options: GridOptions, *, first: dict[str, Any]) -> AnimateOptions:
    """The options of ``animate``; where a side changes the prompt, its first value stands for it."""
    own = {row.field for row in declared(AnimateOptions)}
    given = options.animate.values
    of_request = {name: value for name, value in given.items() if name not in own}
    if "prompt" in first:
        of_request.setdefault("prompt", first["prompt"])
    return AnimateOptions(
        request=Given(of_request), **{name: value for name, value in given.items() if name in own}
    )


def _base(settings: AnimateOptions) -> AnimationRequest:
    requests = requests_of(settings)
    if len(requests) > 1:
        raise InputError('A grid has one --seed; for several, use --x "seed=1,2,3".')
    return requests[0]


def _write(
    cells: Sequence[Sequence[AnimationRequest]],
    columns: Axis,
    rows: Axis,
    *,
    plan: Plan,
    outcome: Outcome,
    at: Destination,
) -> list[Path]:
    """The table in each format, and what is in it as JSON."""
    from animatediff.video import Video
    from animatediff.video.table import table_of

    items = {item.key: item for item in plan.items}
    by_cell = [[items[hash_of(cell)] for cell in row] for row in cells]
    paths = {item.key: plan.file(item, item.names[0]) for item in plan.items if plan.is_done(item)}
    if not paths:
        return []
    videos = {key: Video.load(path) for key, path in paths.items()}
    table = table_of(
        [[videos.get(item.key) for item in row] for row in by_cell],
        columns=columns.labels,
        rows=rows.labels,
    )
    requests = json.dumps([cell.as_table() for row in cells for cell in row])
    written = [table.save(path, metadata={GRID: requests}) for path in at.paths()]
    facts = {
        "x": {"field": columns.name, "values": columns.words},
        "y": {"field": rows.name, "values": rows.words} if rows.name else None,
        "cells": [
            [
                {
                    "x": columns.words[j],
                    **({"y": rows.words[i]} if rows.name else {}),
                    "file": f"{plan.folder.name}/{item.names[0]}" if item.key in paths else None,
                    "error": outcome.failures.get(item.number, ("", 0))[0] or None,
                    "request": item.request.as_table(),
                }
                for j, item in enumerate(row)
            ]
            for i, row in enumerate(by_cell)
        ],
    }
    return [*written, _write_json(at.folder / f"{at.stem}.json", facts)]


def _write_json(path: Path, value: object) -> Path:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(
            json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}.") from None
    return path
