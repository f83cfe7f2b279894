"""A run on the built-in world goes on only with the pictures that it began with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animatediff.data.shards import read_shards, write_shards
from animatediff.training.recipe import Recipe
from animatediff.training.stages.stage_options import StageOptions
from animatediff.world.stages.table import STAGES


@pytest.mark.parametrize("stage", ["image", "motion"])
def test_a_row_of_the_built_in_world_knows_its_pictures(
    stage: str,
    small_setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    """Drawn anew with another caption, they are another run's; what it does not read may change."""
    setup, options = small_setup_of(stage, tmp_path / "work"), options_of(stage)
    kind, other = ("stills", "clips") if stage == "image" else ("clips", "stills")
    place, elsewhere = ((next((setup.work / k).rglob("*.tar"))).parent for k in (kind, other))
    facts = STAGES[stage].prepare(setup, options, torch.device("cpu")).facts
    assert STAGES[stage].prepare(setup, options, torch.device("cpu")).facts == facts
    samples = list(read_shards(place))
    caption = {"label": "another", **dict.fromkeys(samples[0].meta.keys() & {"caption"}, "x")}
    samples[0] = replace(samples[0], meta=samples[0].meta | caption)
    write_shards(samples, place)
    now = STAGES[stage].prepare(setup, options, torch.device("cpu")).facts
    fact = "stills" if stage == "image" else "data"
    assert {name for name in facts if now[name] != facts[name]} == {fact}
    write_shards(list(read_shards(elsewhere))[1:], elsewhere)
    assert STAGES[stage].prepare(setup, options, torch.device("cpu")).facts == now
