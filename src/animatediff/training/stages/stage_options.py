"""The options of one training stage, as values: what was given, and the defaults of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from animatediff.config import from_table, nearest
from animatediff.errors import InputError
from animatediff.options.checks import check_declared
from animatediff.training.stages.defaults import Defaults
from animatediff.training.stages.option_groups import DO_NOT_IDENTIFY, OutputOptions

T = TypeVar("T")


@dataclass(frozen=True)
class StageOptions:
    """Everything that a stage starts from.

    Attributes:
        work: the folder that holds runs, and the parts of the built-in world.
        groups: one value of each group of options that the stage takes (``option_groups.py``).
        precision: of the frozen parts on a GPU.
        defaults: the image model and data to use where the options name none.
    """

    work: Path
    groups: tuple[object, ...] = ()
    precision: str = "fp32"
    defaults: Defaults | None = None

    def of(self, group: type[T]) -> T:
        """The values of one group; its defaults, if the stage does not take it."""
        found = next((value for value in self.groups if type(value) is group), None)
        return group() if found is None else cast(T, found)

    @property
    def output(self) -> Path | None:
        """The file or folder to write, where one was given."""
        return self.of(OutputOptions).output

    @property
    def values(self) -> dict[str, Any]:
        """The value of every option that the stage takes, by name."""
        return {f.name: getattr(group, f.name) for group in self.groups for f in _fields(group)}

    def changed(self, values: Mapping[str, Any]) -> StageOptions:
        """The same with other values of some options.

        Raises:
            InputError: the stage does not take an option, or a value is out of range.
        """
        known = self.values
        unknown = [name for name in values if name not in known]
        if unknown:
            raise InputError(_not_taken(unknown, known))
        groups = tuple(
            replace(cast(Any, group), **{n: values[n] for n in _names(group) if n in values})
            for group in self.groups
        )
        for group in groups:
            check_declared(group)
        return replace(self, groups=groups)

    def table(self) -> dict[str, Any]:
        """The values as TOML and JSON have them, without those that are ``None``."""
        return {name: _plain(value) for name, value in self.values.items() if value is not None}

    def identity(self) -> dict[str, str]:
        """The options that make a run what it is; a run with others is not resumed."""
        return {
            name: str(value) for name, value in self.values.items() if name not in DO_NOT_IDENTIFY
        }


def typed_values(
    groups: Iterable[type], table: Mapping[str, Any], *, source: str
) -> dict[str, Any]:
    """The values that a table of TOML or JSON gives, each checked and in its own type.

    Args:
        groups: the groups of options that the table may set.
        table: values by the names of options.
        source: what an error calls the table.

    Raises:
        InputError: an option is unknown, or a value does not fit.
    """
    values: dict[str, Any] = {}
    known: dict[str, Any] = {}
    for group in groups:
        names = [field.name for field in fields(group)]
        known |= dict.fromkeys(names)
        given = {name: table[name] for name in names if name in table}
        if given:
            found = from_table(given, group, source=source)
            values |= {name: getattr(found, name) for name in given}
    for name in table:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else "leave it out."
            raise InputError(f"{source} has the unknown key {name}; {hint}")
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(cast(tuple[Any, ...], value))
    return str(value) if isinstance(value, Path) else value


def flag_of(name: str) -> str:
    """An option as it is typed."""
    return f"--{name.replace('_', '-')}"


def _not_taken(names: Sequence[str], known: Mapping[str, Any]) -> str:
    listed = ", ".join(flag_of(name) for name in sorted(names))
    close = nearest(names[0], known) if len(names) == 1 else None
    if close:
        return f"This stage does not take {listed}; did you mean {flag_of(close)}?"
    why = "" if known else ", as it uses the folder --work alone"
    return (
        f"This stage does not take {listed}{why}; leave {'it' if len(names) == 1 else 'them'} out."
    )


def _fields(group: object) -> tuple[Any, ...]:
    return fields(cast(Any, group))


def _names(group: object) -> list[str]:
    return [field.name for field in _fields(group)]
