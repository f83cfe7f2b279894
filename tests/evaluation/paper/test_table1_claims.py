"""What the pages say of Table 1: a verdict only where intervals of pairs exclude no difference."""

from __future__ import annotations

from typing import Any

import pytest

from animatediff.evaluation.paper.claims import CLAIMS

ZERO, TUNED, OURS = "Text2Video-Zero", "Tune-A-Video", "AnimateDiff"
CARRIED = "AnimateDiff-carried"


def number(value: float, *, by: float = 0.0, total: int = 30) -> dict[str, Any]:
    return {"value": value, "low": value - by, "high": value + by, "total": total}


def content(values: dict[str, float], *, by: float, column: str) -> dict[str, Any]:
    ours = sorted(values, key=values.__getitem__, reverse=True)
    paper = [OURS, TUNED, ZERO] if column == "smooth" else [OURS, ZERO, TUNED]
    flows = {OURS: 1.0, TUNED: 0.5, ZERO: 2.0}
    return {
        "report": {
            "judges": {"scorer": "29366ebf", "CLIP": "7"},
            "overall": {
                m: {column: number(v), "flow": number(flows[m])} for m, v in values.items()
            },
            "orders": [{"column": column, "paper": paper, "ours": ours, "agrees": paper == ours}],
            "comparisons": [
                {
                    "column": name,
                    "first": OURS,
                    "second": other,
                    "result": {"difference": number(table[OURS] - table[other], by=by)},
                }
                for name, table in ((column, values), ("flow", flows))
                for other in (ZERO, TUNED)
            ],
        }
    }


@pytest.mark.parametrize(
    ("values", "by", "agrees"),
    [
        ({OURS: 3.0, ZERO: 2.0, TUNED: 1.0}, 0.5, True),
        ({OURS: 3.0, ZERO: 2.0, TUNED: 1.0}, 1.5, None),
        ({OURS: 2.0, ZERO: 3.0, TUNED: 1.0}, 0.5, False),
        ({OURS: 2.0, ZERO: 3.0, TUNED: 1.0}, 1.5, None),
    ],
)
def test_an_order_is_open_where_a_pair_is(
    values: dict[str, float], by: float, agrees: bool | None
) -> None:
    claim = next(c for c in CLAIMS if c.experiment == "table1" and "Domain" in c.text)
    found = claim.find(content(values, by=by, column="domain"))
    assert found is not None
    assert found.measured.startswith("scorer: ")
    assert found.agrees is agrees
    assert "30 prompts" in found.measured


@pytest.mark.parametrize(
    ("values", "by", "agrees"),
    [
        ({OURS: 3.0, TUNED: 2.0, ZERO: 1.0}, 0.2, True),
        ({OURS: 3.0, TUNED: 2.0, ZERO: 1.0}, 1.5, None),
        ({OURS: 2.0, TUNED: 3.0, ZERO: 1.0}, 0.2, False),
    ],
)
def test_smoothest_and_moving_is_open_where_a_pair_is(
    values: dict[str, float], by: float, agrees: bool | None
) -> None:
    claim = next(c for c in CLAIMS if c.experiment == "table1" and "least moving" in c.text)
    found = claim.find(content(values, by=by, column="smooth"))
    assert found is not None
    assert found.agrees is agrees


def test_carrying_has_a_claim_of_its_own() -> None:
    claim = next(c for c in CLAIMS if c.experiment == "table1" and "carried" in c.text)
    report = content({OURS: 1.0, TUNED: 2.0, ZERO: 0.5}, by=0.2, column="smooth")
    assert claim.find(report) is None
    parts = report["report"]
    parts["overall"][CARRIED] = {"smooth": number(3.0), "flow": number(0.8)}
    for name, table in (("smooth", {TUNED: 1.0, ZERO: 2.5, OURS: -9.0}), ("flow", {TUNED: 0.3})):
        for other, difference in table.items():
            result = {"difference": number(difference, by=0.2)}
            parts["comparisons"].append(
                {"column": name, "first": CARRIED, "second": other, "result": result}
            )
    found = claim.find(report)
    assert found is not None
    assert found.agrees
    assert "least moving: Tune-A-Video" in found.measured
