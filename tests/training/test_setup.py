"""The options of a stage as values: what each stage takes, changes, stores and is identified by."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.training.options import from_table, to_table

from animatediff.errors import InputError
from animatediff.training.stages.option_groups import (
    DO_NOT_IDENTIFY,
    ImageModelOptions,
    MotionModuleOptions,
    OutputOptions,
)
from animatediff.training.stages.stage_options import StageOptions, flag_of, typed_values
from animatediff.world.stages.table import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_default_of_each_option_of_its_groups_and_no_other(
    stage: str, tmp_path: Path
) -> None:
    options, takes = STAGES[stage].options(tmp_path, {}), STAGES[stage].takes
    wanted = {
        field.name: getattr(group(), field.name) for group in takes for field in fields(group)
    }
    assert options.work == tmp_path
    assert options.values == wanted


@pytest.mark.parametrize("stage", STAGES)
def test_a_stored_table_gives_the_same_options(stage: str, tmp_path: Path) -> None:
    options = STAGES[stage].options(tmp_path, {})
    stored = json.loads(json.dumps(to_table(options)))
    assert from_table(stage, stored) == options
    assert from_table(stage, stored).identity() == options.identity()


def test_no_two_groups_of_a_stage_share_a_name() -> None:
    for name, stage in STAGES.items():
        names = [field.name for group in stage.takes for field in fields(group)]
        assert len(names) == len(set(names)), name


def test_a_changed_value_changes_nothing_else(tmp_path: Path) -> None:
    options = STAGES["motion"].options(tmp_path, {})
    changed = options.changed({"frames": 8})
    assert changed.of(MotionModuleOptions).frames == 8
    assert changed.values == options.values | {"frames": 8}
    assert options.values["frames"] != 8
    assert changed.identity() != options.identity()


def test_only_what_changes_the_result_identifies_a_run(tmp_path: Path) -> None:
    options = STAGES["motion"].options(tmp_path, {})
    assert not DO_NOT_IDENTIFY & options.identity().keys()
    assert options.identity().keys() == options.values.keys() - DO_NOT_IDENTIFY
    elsewhere = options.changed({"output": tmp_path / "b.safetensors"})
    assert elsewhere.output == tmp_path / "b.safetensors"
    assert elsewhere.identity() == options.identity()


def test_a_group_that_the_stage_does_not_take_has_its_defaults(tmp_path: Path) -> None:
    bare = StageOptions(tmp_path)
    assert bare.of(ImageModelOptions) == ImageModelOptions()
    assert bare.output is None
    assert bare.values == bare.table() == bare.identity() == {}


@pytest.mark.parametrize(
    ("groups", "values", "sentence"),
    [
        ((ImageModelOptions(),), {"sise": 64}, "does not take --sise; did you mean --size"),
        ((ImageModelOptions(),), {"family": "v3"}, "does not take --family; leave it out"),
        (
            (ImageModelOptions(),),
            {"family": "v3", "data": Path("a")},
            "does not take --data, --family; leave them out",
        ),
        ((), {"size": 64}, r"as it uses the folder --work alone; leave it out"),
        ((ImageModelOptions(),), {"size": 4}, "size"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_a_remedy(
    groups: tuple[object, ...], values: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        StageOptions(tmp_path, groups).changed(values)


def test_values_of_a_file_are_checked_and_get_their_types() -> None:
    groups = (OutputOptions, ImageModelOptions)
    table = {"output": "a.safetensors", "size": 64}
    assert typed_values(groups, table, source="x.toml") == {
        "output": Path("a.safetensors"),
        "size": 64,
    }
    for wrong, sentence in (
        ({"size": "large"}, "x.toml"),
        ({"sizes": 64}, "x.toml has the unknown key sizes; did you mean size"),
        ({"wxyz": 64}, "x.toml has the unknown key wxyz; leave it out"),
    ):
        with pytest.raises(InputError, match=sentence):
            typed_values(groups, wrong, source="x.toml")


def test_an_option_is_shown_as_it_is_typed() -> None:
    assert flag_of("vary_appearance") == "--vary-appearance"


def test_every_option_that_does_not_identify_a_run_is_one_of_some_stage(tmp_path: Path) -> None:
    taken = {name for stage in STAGES.values() for name in stage.options(tmp_path, {}).values}
    assert taken >= DO_NOT_IDENTIFY
