"""``animatediff evaluate join``: results of Table 1 of several models or methods become one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from animatediff.apps.destination import check_room


@dataclass(frozen=True)
class JoinOptions:
    """Join results of `evaluate table1` that were measured apart, of other models or methods.

    Nothing is drawn. Settings, driving clips and judges must be the same in all of them.
    Writes RESULTS/table1.json and the page in RESULTS/table1, with the animations beside the results.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE...")]
    """Their table1.json, in the order of the table."""
    results: Path = Path("results")
    """The folder for results."""


def join(options: JoinOptions) -> int:
    """Join results and write the table and its page.

    Raises:
        InputError, FileError, OutputError: see ``errors.py``.
    """
    from animatediff.apps.commands.evaluation.table1 import published, user_ranks
    from animatediff.evaluation.table1.join import joined

    check_room(options.results / "table1.json", option="--results")
    user_ranks(options.results)
    report = joined(options.files)
    for file in options.files:
        shown, here = file.parent / "table1", options.results / "table1"
        if shown.is_dir() and shown.resolve() != here.resolve():
            shutil.copytree(shown, here, dirs_exist_ok=True)
    table, _ = published(report, options.results, options=options)
    print(table)
    return 0
