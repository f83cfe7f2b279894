"""Inputs of a node, generated from the option fields of a request."""

from __future__ import annotations

import json
from typing import Any

from animatediff.options.declaration import Declared, declared
from animatediff.sampling.request import AnimationRequest

SHOWN = (
    "prompt",
    "negative_prompt",
    "model",
    "motion",
    "num_frames",
    "fps",
    "width",
    "height",
    "steps",
    "guidance",
    "scheduler",
    "seed",
    "loop",
)
"""Fields with an input of their own; the others are given as JSON in ``settings``."""
AUTO = "auto"
UNSET = 0
"""A number that is left to the model."""
MOST_SEED = 2**64 - 1


def request_inputs() -> dict[str, tuple[Any, dict[str, Any]]]:
    """The inputs for the shown fields, in ComfyUI's form."""
    rows = {row.field: row for row in declared(AnimationRequest)}
    return {field: _input(rows[field]) for field in SHOWN} | {
        "keyframes": (
            "STRING",
            {
                "multiline": True,
                "default": "",
                "tooltip": "Prompts from single frames on, one per line: 8: a hare",
            },
        ),
        "settings": (
            "STRING",
            {
                "multiline": True,
                "default": "",
                "tooltip": 'Other fields of the request as JSON: {"loop": true, "free_init": 2}',
            },
        ),
    }


def _input(row: Declared) -> tuple[Any, dict[str, Any]]:
    option = row.option
    facts: dict[str, Any] = {
        "tooltip": f"{option.help} Default: {option.unset}." if option.unset else option.help
    }
    if row.choices:
        return (list(row.choices) if not row.nullable else [AUTO, *row.choices]), facts
    if row.annotation is bool:
        return "BOOLEAN", {**facts, "default": bool(row.default)}
    if row.field == "seed":
        return "INT", {
            **facts,
            "default": 0,
            "min": 0,
            "max": MOST_SEED,
            "control_after_generate": True,
        }
    if row.annotation is int:
        least = UNSET if row.nullable else int(option.least or 0)
        step = option.multiple_of or 1
        return "INT", {
            **facts,
            "default": least,
            "min": least,
            "max": int(option.most or 2**31),
            "step": step,
        }
    if row.annotation is float:
        return "FLOAT", {
            **facts,
            "default": 0.0,
            "min": 0.0,
            "max": float(option.most or 100),
            "step": 0.1,
        }
    if row.field == "fps":
        return "FLOAT", {**facts, "default": 0.0, "min": 0.0, "max": option.most, "step": 0.001}
    return "STRING", {**facts, "default": "", "multiline": row.field.endswith("prompt")}


def request_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request from the values of a node's inputs; what was left open is left out.

    Raises:
        ValueError: the keyframes or the settings cannot be read.
    """
    rows = {row.field: row for row in declared(AnimationRequest)}
    fields: dict[str, Any] = {}
    for field in SHOWN:
        value, row = values[field], rows[field]
        left_open = value in ("", AUTO) or (row.nullable and value == UNSET)
        if field == "prompt" or not (left_open or value == row.default):
            fields[field] = value
    fields["prompts"] = keyframes_of(values.get("keyframes", ""))
    if not fields["prompts"]:
        del fields["prompts"]
    return {**fields, **_settings(values.get("settings", ""))}


def keyframes_of(text: str) -> dict[str, str]:
    """Prompts by frame, from lines such as ``8: a hare``.

    Raises:
        ValueError: a line has no frame.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip():
            key, colon, prompt = line.partition(":")
            if not colon or not key.strip():
                raise ValueError(
                    f"The keyframe {line!r:.60} has no frame; write, for example, 8: a hare."
                )
            found[key.strip()] = prompt.strip()
    return found


def _settings(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        table = json.loads(text)
    except ValueError as error:
        raise ValueError(f"The settings are not JSON: {error}.") from None
    if not isinstance(table, dict):
        raise ValueError("The settings are not a JSON object; write fields in braces.")
    return table
