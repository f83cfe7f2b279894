"""The scripts of ``recipes/`` import what the package still has."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "recipes").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_recipe_can_be_imported(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that moved broke one, as they are run by hand only."""
    name = f"recipe_{script.stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        sys, "path", list(sys.path)
    )  # a recipe may add the folder of the benchmarks
    spec.loader.exec_module(module)
    assert callable(module.main)
