"""``animatediff dataset``: fetch and render the art of the built-in world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from animatediff.errors import InputError


@dataclass(frozen=True)
class Options:
    """Fetch pinned packages, check them, and render stills and clips into shards."""

    name: Annotated[str, tyro.conf.Positional] = "emoji"
    """Which data set; only ``emoji`` is built in."""
    work: Path = Path("build/emoji")
    """The world folder to make."""


def dataset(options: Options) -> int:
    """Render, and print how many there are of each kind."""
    if options.name != "emoji":
        raise InputError(f"There is no data set {options.name!r}; the only built-in one is emoji.")
    from animatediff.data.emoji import render_world

    for kind, count in render_world(options.work).items():
        print(f"{kind:14} {count}")
    return 0
