"""Modules that wait run their code when one of their names is used, and are whole then."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from animatediff.weights.image_model.late_imports import Late, late_imports

HEAVY = """
import builtins
builtins.HEAVY_RAN = getattr(builtins, "HEAVY_RAN", 0) + 1
TABLE = {"a": 1}
marked = []
class Kind:
    value = 3
def double(number):
    return 2 * number
def mark(function):
    marked.append(function)
    return function
"""
USER = """
from late_heavy import Kind, TABLE, double
from late_heavy import inside
from late_marks import mark
import late_package.leaf

@mark
def marked_function(kind: Kind | None = None) -> "Kind":
    return double(TABLE["a"])

def is_kind(value):
    return isinstance(value, Kind)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that import a heavy one."""
    for package in ("late_heavy", "late_marks", "late_package"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(HEAVY)
    (tmp_path / "late_heavy" / "inside.py").write_text("NUMBER = 7\n")
    (tmp_path / "late_package" / "leaf.py").write_text("")
    (tmp_path / "late_user.py").write_text(USER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delattr("builtins.HEAVY_RAN", raising=False)
    finders = list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.startswith("late_")]:
        del sys.modules[name]


def import_user():
    with late_imports(
        {"late_heavy", "late_package", "late_unknown"}, decorators={"late_marks": "mark"}
    ):
        return importlib.import_module("late_user")


def times_run() -> int:
    import builtins

    return getattr(builtins, "HEAVY_RAN", 0)


@pytest.mark.usefixtures("modules")
def test_nothing_runs_before_a_name_is_used() -> None:
    user = import_user()
    assert times_run() == 0
    assert "late_marks" not in sys.modules
    assert user.inside.NUMBER == 7  # a submodule is imported as usual
    assert isinstance(user.double, Late)
    assert user.marked_function() == 2
    assert times_run() == 1


@pytest.mark.usefixtures("modules")
def test_a_name_that_waits_is_as_good_as_the_name() -> None:
    user = import_user()
    real = importlib.import_module("late_heavy")
    assert user.is_kind(real.Kind())
    assert not user.is_kind(3)
    assert user.Kind.value == 3
    assert issubclass(types.new_class("Below", (user.Kind,)), real.Kind)
    assert ("a" in user.TABLE, list(user.TABLE), len(user.TABLE)) == (True, ["a"], 1)
    assert not hasattr(real, "no_such_name")


@pytest.mark.usefixtures("modules")
def test_a_decorator_is_applied_when_its_package_is_imported() -> None:
    user = import_user()
    with late_imports((), decorators={"late_marks": "mark"}):
        assert importlib.import_module("late_marks").mark(import_user) is import_user
    marks = importlib.import_module("late_marks")
    assert marks.marked[-2:] == [user.marked_function, import_user]


@pytest.mark.usefixtures("modules")
def test_a_package_with_an_imported_module_runs_when_it_is_read() -> None:
    import_user()
    package = importlib.import_module("late_package")
    assert times_run() == 0
    assert package.TABLE == {"a": 1}
    assert importlib.import_module("late_package") is package
    assert times_run() == 1


@pytest.mark.usefixtures("modules")
def test_another_import_is_as_usual() -> None:
    with late_imports({"late_heavy"}):
        pass
    assert importlib.import_module("late_heavy").TABLE == {"a": 1}
