"""The results of Table 1: intervals, paired tests, controls, and the paper's orderings beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from animatediff.evaluation.clip_marks import ClipMarks
from animatediff.evaluation.intervals import Estimate, mean_of
from animatediff.evaluation.paired import Paired, grouped, paired, with_holm
from animatediff.evaluation.reports import Row
from animatediff.evaluation.table1.columns import Column, columns_for
from animatediff.evaluation.table1.plan import CARRIED, OURS, TUNE, ZERO, Plan

FROZEN, REAL = "frozen control", "driving clips"
"""The first frame of each of AnimateDiff's animations held still, and the real clips."""
PAPER = {
    "text": (32.04, 35.98, 31.39),
    "domain": (84.84, 80.68, 87.29),
    "smooth": (96.57, 97.42, 98.00),
}
"""The CLIP columns of the paper's Table 1, in the order of ``METHODS``."""
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Scored:
    """One measured clip.

    Attributes:
        method: a method, a system that was brought, or a control.
        model: the personalised model; empty for driving clips.
        index: number of the prompt, or of the driving clip.
        prompt: what was asked for, or the driving clip's caption.
        marks: its metrics.
    """

    method: str
    model: str
    index: int
    prompt: str
    marks: ClipMarks


@dataclass(frozen=True)
class Comparison:
    """AnimateDiff against another method on one column."""

    column: str
    first: str
    second: str
    result: Paired


@dataclass(frozen=True)
class Order:
    """An ordering of the methods on one column, the best first.

    Attributes:
        column: the column.
        paper: the paper's.
        ours: here.
        agrees: whether they are the same.
    """

    column: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    agrees: bool


@dataclass(frozen=True)
class Table1Report:
    """Everything behind the table.

    Attributes:
        plan: what was compared.
        judges: name and digest of every network.
        flow: the optical flow's name.
        columns: key and title of every column, with its digits.
        overall: by method, by column: the mean over all prompts of all models.
        by_model: the same for each personalised model.
        comparisons: AnimateDiff, and AnimateDiff carried, against every other method, with Holm's
            correction over all.
        orders: where all three methods of the paper were drawn.
        missing: prompts without a clip, by system that was brought.
        frozen: the method whose first frames, held still, are the frozen control.
        clips: every clip.
    """

    plan: Plan
    judges: Mapping[str, str]
    flow: str
    columns: tuple[tuple[str, str, int], ...]
    overall: Mapping[str, Mapping[str, Estimate]]
    by_model: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    comparisons: tuple[Comparison, ...]
    orders: tuple[Order, ...]
    missing: Mapping[str, tuple[str, ...]]
    frozen: str
    clips: tuple[Scored, ...]

    def rows(self) -> tuple[Row, ...]:
        """Return the rows of its table in the terminal."""
        rows = [
            Row(f"{method}: {title}", _shown(estimates[key], digits))
            for method, estimates in self.overall.items()
            for key, title, digits in self.columns
            if not math.isnan(estimates[key].value)
        ]
        for each in self.comparisons:
            result = each.result
            rows.append(
                Row(
                    f"{each.first} minus {each.second}: {each.column}",
                    f"{result.difference}; p = {result.p:.4f}, Holm {result.p_holm:.4f}",
                )
            )
        rows += [
            Row(
                f"order on {order.column}",
                " > ".join(order.ours),
                f"the paper's: {' > '.join(order.paper)}",
                order.agrees,
            )
            for order in self.orders
        ]
        return (*rows, *self._moving_rows(OURS), *self._moving_rows(CARRIED))

    def _moving_rows(self, ours: str) -> list[Row]:
        drawn = {m: e for m, e in self.overall.items() if m in (ZERO, TUNE, ours)}
        if ours not in drawn or len(drawn) < 2:
            return []
        smooth = {method: each["smooth"].value for method, each in drawn.items()}
        flow = {method: each["flow"].value for method, each in drawn.items()}
        first = max(smooth, key=smooth.__getitem__)
        least = min(flow, key=flow.__getitem__)
        return [
            Row(f"first on smooth, baselines and {ours}", first, ours, first == ours),
            Row(f"least moving, baselines and {ours}", least, f"not {ours}", least != ours),
        ]


def report_on(
    plan: Plan,
    clips: Iterable[Scored],
    *,
    judges: Mapping[str, str],
    dino: Mapping[str, str],
    flow: str,
    frozen: str,
    missing: Mapping[str, tuple[str, ...]] | None = None,
) -> Table1Report:
    """Add up measured clips.

    Args:
        plan: what was compared.
        clips: every clip, of methods and controls.
        judges: name and digest of the judges, the main one first.
        dino: name and digest of the network of consistency, if any.
        flow: the optical flow's name.
        frozen: the method whose first frames, held still, are the frozen control.
        missing: prompts without a clip, by system that was brought.
    """
    scored = tuple(clips)
    columns = columns_for(list(judges), dino=bool(dino))
    methods = list(dict.fromkeys(each.method for each in scored))
    models = [model.name for model in plan.models]
    overall = {m: _estimates(_of(scored, method=m), columns) for m in methods}
    by_model = {
        model: {
            m: _estimates(own, columns)
            for m in methods
            if (own := _of(scored, method=m, model=model))
        }
        for model in models
    }
    return Table1Report(
        plan=plan,
        judges={**judges, **dino},
        flow=flow,
        columns=tuple((column.key, column.title, column.digits) for column in columns),
        overall=overall,
        by_model=by_model,
        comparisons=_comparisons(scored, columns),
        orders=_orders(overall),
        missing=missing or {},
        frozen=frozen,
        clips=scored,
    )


def _of(clips: Sequence[Scored], *, method: str, model: str | None = None) -> list[Scored]:
    return [c for c in clips if c.method == method and model in (None, c.model)]


def _estimates(clips: Sequence[Scored], columns: Sequence[Column]) -> dict[str, Estimate]:
    """Return the mean of each column; the bootstrap draws prompt numbers."""
    estimates: dict[str, Estimate] = {}
    for column in columns:
        known = [(c.index, v) for c in clips if (v := column.of(c.marks)) is not None]
        means = grouped([value for _, value in known], groups=[index for index, _ in known])
        estimates[column.key] = mean_of(means)
    return estimates


def _comparisons(clips: Sequence[Scored], columns: Sequence[Column]) -> tuple[Comparison, ...]:
    found: list[Comparison] = []
    methods = [m for m in dict.fromkeys(c.method for c in clips) if m not in (FROZEN, REAL)]
    others = [(OURS, other) for other in methods if other != OURS]
    others += [(CARRIED, other) for other in methods if other not in (OURS, CARRIED)]
    for own, other in others:
        ours = {(c.model, c.index): c for c in _of(clips, method=own)}
        pairs = [
            (ours[c.model, c.index], c)
            for c in _of(clips, method=other)
            if (c.model, c.index) in ours
        ]
        for column in (column for column in columns if column.compared):
            values = [(column.of(a.marks), column.of(b.marks), a.index) for a, b in pairs]
            known = [(a, b, i) for a, b, i in values if a is not None and b is not None]
            if known:
                first, second, groups = zip(*known, strict=True)
                result = paired(first, second, groups=groups)
                found.append(Comparison(column.key, own, other, result))
    corrected = with_holm([each.result for each in found])
    return tuple(
        Comparison(each.column, each.first, each.second, result)
        for each, result in zip(found, corrected, strict=True)
    )


def _orders(overall: Mapping[str, Mapping[str, Estimate]]) -> tuple[Order, ...]:
    methods = (ZERO, TUNE, OURS)
    if any(method not in overall for method in methods):
        return ()
    orders: list[Order] = []
    for key, values in PAPER.items():
        theirs: dict[str, float] = dict(zip(methods, values, strict=True))
        ours: dict[str, float] = {method: overall[method][key].value for method in methods}
        paper, here = (tuple(sorted(each, key=lambda m, e=each: -e[m])) for each in (theirs, ours))
        orders.append(Order(key, paper, here, paper == here))
    return tuple(orders)


def _shown(estimate: Estimate, digits: int) -> str:
    low, high = f"{estimate.low:.{digits}f}", f"{estimate.high:.{digits}f}"
    return f"{estimate.value:.{digits}f} ({low} to {high})"
