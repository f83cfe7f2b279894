"""Options declared once: checks, JSON schema and tables that agree with each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Literal

import pytest

from animatediff.errors import InputError
from animatediff.options.checks import check_declared
from animatediff.options.declaration import Option, declared
from animatediff.options.schema import json_schema
from animatediff.options.tables import option_tables
from animatediff.sampling.request import AnimationRequest


@dataclass(frozen=True)
class Drawing:
    """A drawing."""

    text: Annotated[str, Option("What.", group="Prompt", positional=True, most_characters=5)]
    steps: Annotated[
        int | None, Option("Steps.", group="Sampling", least=1, most=9, unset="the model's")
    ] = None
    width: Annotated[
        int, Option("Wide.", group="Output", unit="pixels", least=8, most=64, multiple_of=8)
    ] = 8
    pull: Annotated[float, Option("Pull | push.", group="Sampling", least=0, most=1)] = 0.5
    how: Annotated[Literal["a", "b"], Option("How.", group="Model")] = "a"
    again: Annotated[bool, Option("Again.", group="Other")] = False
    names: Annotated[
        tuple[str, ...], Option("Names.", group="Model", most_items=2, item="name")
    ] = ()
    rate: Annotated[Fraction | int | str, Option("Rate.", group="Output")] = 8
    table: Annotated[Mapping[str, str], Option("Table.", group="Prompt", by_hand=True)] = field(
        default_factory=dict[str, str]
    )
    undeclared: int = 0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"text": "a fox!"}, "The text has 6 characters; shorten it to 5 or fewer."),
        ({"text": 3}, "text = 3 is not text."),
        ({"steps": 0}, "steps = 0 is out of range; choose 1 to 9."),
        ({"steps": True}, "steps = True is not a whole number."),
        ({"width": 12}, "width = 12 is not a multiple of 8; choose 8 or 16."),
        ({"width": 72}, "width = 72 is out of range; choose 8 to 64."),
        ({"pull": float("nan")}, "pull = nan is not a finite number."),
        ({"pull": 1.5}, "pull = 1.5 is out of range; choose 0 to 1."),
        ({"how": "c"}, "how = 'c' is unknown; it is one of a, b."),
        ({"again": 1}, "again = 1 is neither true nor false."),
        ({"names": "ab"}, "The names 'ab' are not a list."),
        ({"names": ("a", "b", "c")}, "3 names were given, and at most 2 can be added."),
        ({"names": (1,)}, "name = 1 is not text."),
        ({"table": "x"}, "table = 'x' is not a table."),
    ],
)
def test_what_does_not_fit_its_declaration_is_refused(
    values: dict[str, object], sentence: str
) -> None:
    check_declared(Drawing("a"))
    with pytest.raises(InputError) as caught:
        check_declared(Drawing(**{"text": "a", **values}))  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == sentence


def test_the_schema_is_strict_and_has_every_limit() -> None:
    schema = json_schema(Drawing)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["text"]
    properties = schema["properties"]
    assert "undeclared" not in properties
    assert properties["steps"] == {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 9,
        "description": "Steps. Default: the model's.",
        "default": None,
    }
    assert properties["width"]["multipleOf"] == 8
    assert properties["width"]["description"] == "Wide. In pixels."
    assert properties["how"] == {
        "type": "string",
        "enum": ["a", "b"],
        "description": "How.",
        "default": "a",
    }
    assert properties["names"]["maxItems"] == 2
    assert properties["rate"]["type"] == ["number", "string"]
    assert properties["table"]["additionalProperties"] == {"type": "string"}


def test_the_schema_of_a_request_names_every_field_and_is_json() -> None:
    schema = json.loads(json.dumps(json_schema(AnimationRequest)))
    assert list(schema["properties"]) == [*AnimationRequest.__dataclass_fields__]
    assert schema["properties"]["scheduler"]["enum"][-1] is None
    defaults = {
        name: row["default"] for name, row in schema["properties"].items() if name != "prompt"
    }
    assert (
        AnimationRequest.from_table({"schema": 1, "prompt": "a", **defaults})
        == AnimationRequest("a").validated()
    )


def test_tables_list_every_option_once_under_its_group() -> None:
    text = option_tables(declared(Drawing), fields=declared(Drawing))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["### Prompt", "### Model", "### Sampling", "### Output", "### Other"]
    assert "| `--steps N` | `steps` | the model's | Steps. (1 to 9) |" in text
    assert "| `--pull X` | `pull` | 0.5 | Pull \\| push. (0 to 1) |" in text
    assert "|  | `table` |  | Table. |" in text
    assert "| `--again` |  |  | Again. |" in option_tables(declared(Drawing))
