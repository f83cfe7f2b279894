"""Join results of Table 1 that were measured apart, such as one personalised model on each machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from animatediff.config import from_table
from animatediff.errors import FileError, InputError, reason_of
from animatediff.evaluation.table1.plan import Plan
from animatediff.evaluation.table1.report import REAL, Scored, Table1Report, report_on


@dataclass(frozen=True)
class _Part:
    """What a result needs to be joined: fields of ``Table1Report`` from which the others follow."""

    plan: Plan
    judges: dict[str, str]
    flow: str
    missing: dict[str, tuple[str, ...]]
    frozen: str
    clips: tuple[Scored, ...]

    @property
    def methods(self) -> set[str]:
        """What was drawn or brought, with the controls."""
        return {clip.method for clip in self.clips}


def joined(paths: Sequence[Path]) -> Table1Report:
    """Return the comparison of all models of several results, as if it had been run at once.

    Args:
        paths: results of ``evaluate table1``, of different models.

    Raises:
        FileError: one of them is missing, or no result of Table 1.
        InputError: there are fewer than two, two have the same model, or they were not measured alike.
    """
    if len(paths) < 2:
        raise InputError("One result is nothing to join; name two or more.")
    parts = [_read(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        for what, one, other in (
            ("settings", first.plan.settings, part.plan.settings),
            ("driving clips", _captions(first), _captions(part)),
            ("judges", first.judges, part.judges),
            ("optical flow", first.flow, part.flow),
            ("methods", first.methods, part.methods),
        ):
            if one != other:
                raise InputError(
                    f"{paths[0]} and {path} differ in their {what}: {one} and {other}. Only results "
                    "that were measured alike can be joined."
                )
    models = [model for part in parts for model in part.plan.models]
    names = [model.name for model in models]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise InputError(f"Two of the results have the model {double!r}; leave one of them out.")
    likeness = set(first.clips[0].marks.likeness)
    return report_on(
        Plan(tuple(models), first.plan.clips, first.plan.settings),
        _in_order(parts),
        judges={name: digest for name, digest in first.judges.items() if name in likeness},
        dino={name: digest for name, digest in first.judges.items() if name not in likeness},
        flow=first.flow,
        frozen=first.frozen,
        missing=_missing(parts),
    )


def _read(path: Path) -> _Part:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))["report"]
        table = {field.name: report[field.name] for field in fields(_Part)}
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} is no result of `animatediff evaluate table1`; name its table1.json."
        ) from error
    part = from_table(table, _Part, source=str(path))
    if not part.clips:
        raise FileError(f"{path} has no measured clips; run `animatediff evaluate table1` again.")
    return part


def _captions(part: _Part) -> list[str]:
    """What the driving clips show; their files have other places on other machines."""
    return [clip.caption for clip in part.plan.clips]


def _in_order(parts: Sequence[_Part]) -> list[Scored]:
    """All clips, method by method as in the first result; the driving clips once."""
    methods = dict.fromkeys(clip.method for clip in parts[0].clips)
    return [
        clip
        for method in methods
        for part in (parts if method != REAL else parts[:1])
        for clip in part.clips
        if clip.method == method
    ]


def _missing(parts: Sequence[_Part]) -> Mapping[str, tuple[str, ...]]:
    """Prompts without a clip, by system that was brought."""
    systems = dict.fromkeys(name for part in parts for name in part.missing)
    return {
        name: tuple(prompt for part in parts for prompt in part.missing.get(name, ()))
        for name in systems
    }
