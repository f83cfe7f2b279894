"""Options of stages, by keyword: short where a test changes one of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from animatediff.training.stages.stage_options import StageOptions, typed_values
from animatediff.world.stages.table import STAGES


def given(stage: str, work: Path, **values: Any) -> StageOptions:
    """The options of a stage with these values; those that it does not take are left out."""
    known = STAGES[stage].options(work, {}).values
    return STAGES[stage].options(work, {k: v for k, v in values.items() if k in known})


def changed(options: StageOptions, **values: Any) -> StageOptions:
    """The same with other values."""
    return options.changed(values)


def to_table(options: StageOptions) -> dict[str, Any]:
    """Options as JSON has them, for another process."""
    return {"work": str(options.work), **options.table()}


def from_table(stage: str, table: dict[str, Any]) -> StageOptions:
    """The options that ``to_table`` made a table of."""
    work, values = Path(table["work"]), {k: v for k, v in table.items() if k != "work"}
    row = STAGES[stage]
    return row.options(work, typed_values(row.takes, values, source="JSON"))
