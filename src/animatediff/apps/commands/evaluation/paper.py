"""``animatediff paper``: the pages and plots of the paper's experiments, from their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg


@dataclass(frozen=True)
class PaperOptions:
    """Write a page for each experiment that has results, and an index of the paper's claims.

    The same results give the same files, byte for byte.
    """

    results: Path = Path("results")
    """The folder of results."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("docs/paper")
    """The folder of the pages."""


def paper(options: PaperOptions) -> None:
    """Write the pages.

    Raises:
        InputError, FileError, OutputError: see ``errors.py``.
    """
    from animatediff.errors import FileError
    from animatediff.evaluation.paper.pages import write_paper

    if not options.results.is_dir():
        raise FileError(
            f"There is no folder of results {options.results}; measure something first."
        )
    written = write_paper(options.results, options.output)
    print(f"{written[0]} and {len(written) - 1} other files.")
