"""Import a program of ``benchmarks/``, whose files import each other by their names alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks"


@contextmanager
def benchmark(name: str) -> Iterator[ModuleType]:
    """Import a program and what it imports; both are forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
        own = {path.stem for path in FOLDER.glob("*.py")}
        for module in (set(sys.modules) - before) & own:
            del sys.modules[module]
