"""Join results of Table 1 that were measured apart, such as one personalised model on each machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from animatediff.config import from_table
from animatediff.errors import FileError, InputError, reason_of
from animatediff.evaluation.table1.plan import DRAWN, Personal, Plan
from animatediff.evaluation.table1.report import FROZEN, REAL, Scored, Table1Report, report_on


@dataclass(frozen=True)
class _Part:
    """What a result needs to be joined: fields of ``Table1Report`` from which the others follow."""

    plan: Plan
    judges: dict[str, str]
    flow: str
    missing: dict[str, tuple[str, ...]]
    frozen: str
    clips: tuple[Scored, ...]


def joined(paths: Sequence[Path]) -> Table1Report:
    """Return the comparison of all models and methods of several results, as if run at once.

    The controls of a model come from the first result that has them.

    Args:
        paths: results of ``evaluate table1``, of different models or of different methods.

    Raises:
        FileError: one of them is missing, or no result of Table 1.
        InputError: there are fewer than two, two have the same method of a model, a model lacks a
            method of the others, or they were not measured alike.
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
        ):
            if one != other:
                raise InputError(
                    f"{paths[0]} and {path} differ in their {what}: {one} and {other}. Only results "
                    "that were measured alike can be joined."
                )
    likeness = set(first.clips[0].marks.likeness)
    return report_on(
        Plan(_models(parts), first.plan.clips, first.plan.settings),
        _in_order(_cells(parts)),
        judges={name: digest for name, digest in first.judges.items() if name in likeness},
        dino={name: digest for name, digest in first.judges.items() if name not in likeness},
        flow=first.flow,
        frozen=first.frozen,
        missing=_missing(parts),
    )


def _models(parts: Sequence[_Part]) -> tuple[Personal, ...]:
    """Every model once.

    Raises:
        InputError: two results have a model of one name that is not the same.
    """
    models: dict[str, Personal] = {}
    for model in (model for part in parts for model in part.plan.models):
        if models.setdefault(model.name, model) != model:
            raise InputError(
                f"Two of the results have different models or prompts named {model.name!r}; leave one "
                "of them out."
            )
    return tuple(models.values())


def _cells(parts: Sequence[_Part]) -> dict[tuple[str, str], list[Scored]]:
    """The clips of each method and model.

    Raises:
        InputError: two results have the same method of a model, or a model lacks one.
    """
    cells: dict[tuple[str, str], list[Scored]] = {}
    for part in parts:
        own: dict[tuple[str, str], list[Scored]] = {}
        for clip in part.clips:
            own.setdefault((clip.method, clip.model), []).append(clip)
        for (method, model), clips in own.items():
            if method == FROZEN and part.frozen != parts[0].frozen:
                continue
            if (method, model) in cells and method not in (FROZEN, REAL):
                raise InputError(
                    f"Two of the results have {method} of the model {model!r}; leave one of them out."
                )
            cells.setdefault((method, model), clips)
    models = dict.fromkeys(model for method, model in cells if method != REAL)
    methods = dict.fromkeys(method for method, _ in cells if method != REAL)
    for method, model in ((method, model) for method in methods for model in models):
        if (method, model) not in cells:
            raise InputError(
                f"No result has {method} of the model {model!r}; name one more, or leave those with "
                "other methods out."
            )
    return cells


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


def _in_order(cells: Mapping[tuple[str, str], list[Scored]]) -> list[Scored]:
    """All clips, method by method."""
    found = dict.fromkeys(method for method, _ in cells)
    brought = [method for method in found if method not in (*DRAWN, FROZEN, REAL)]
    return [
        clip
        for method in (*DRAWN, *brought, FROZEN, REAL)
        for (each, _), clips in cells.items()
        if each == method
        for clip in clips
    ]


def _missing(parts: Sequence[_Part]) -> Mapping[str, tuple[str, ...]]:
    """Prompts without a clip, by system that was brought."""
    systems = dict.fromkeys(name for part in parts for name in part.missing)
    return {
        name: tuple(prompt for part in parts for prompt in part.missing.get(name, ()))
        for name in systems
    }
