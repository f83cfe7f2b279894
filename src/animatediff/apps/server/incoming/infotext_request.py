"""A request that does what an infotext says, and notes on what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from animatediff.apps.server.a1111 import (
    ARGUMENTS,
    AT,
    REQUEST_ID,
    Translated,
    animate,
    sampler_of,
    second_pass,
    travel_in,
)
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.incoming.infotext import settings_of

MOST_NOTES = 50
_SILENT = frozenset(
    ("Model hash", "VAE hash", "Version", "Lora hashes", "TI hashes", "Schedule type")
)
"""Settings that are read with others, or that change no picture."""
_SECOND_PASS: Mapping[str, str] = {
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Denoising strength": "denoising_strength",
}
"""Settings of the high-resolution fix, and their names in the API of A1111."""
_BLENDED: Mapping[str, str] = {"latent_power": "image_power", "latent_scale": "image_scale"}
_UNREAD = ("enable", REQUEST_ID, "mm_hash")
"""Arguments in an infotext that change no animation."""


def request_of(infotext: str, *, film: str = "") -> tuple[dict[str, Any], list[str]]:
    """The fields of a request that an infotext gives, and what it has no field for, in sentences.

    Args:
        infotext: of a file.
        film: the name of a network for ``interp: FILM``; empty if there is none.
    """
    settings, prompt, negative = settings_of(infotext)
    found = Translated({"prompt": prompt, "negative_prompt": negative})
    fields, notes = found.fields, found.notes
    motion = settings.pop("AnimateDiff", "")
    if "Hires upscale" in settings:
        _enlarge(settings, found)
    for name, value in settings.items():
        match name:
            case "Steps" | "Seed" | "Clip skip":
                fields[name.lower().replace(" ", "_")] = _whole(value)
            case "CFG scale":
                fields["guidance"] = _real(value)
            case "Size":
                size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
                if size:
                    fields["width"], fields["height"] = int(size[1]), int(size[2])
            case "Sampler":
                try:
                    fields["scheduler"] = sampler_of(f"{value} {settings.get('Schedule type', '')}")
                except Refused:
                    notes.append(f"The sampler {value!r:.60} is not here; the default is used.")
            case "Model":
                fields["model"] = value
            case "VAE":
                fields["vae"] = value
            case "Denoising strength":
                notes.append(
                    f"The file began from a picture, with strength {value:.20}, and does not carry "
                    "it; give the picture and the strength again."
                )
            case _ if name not in _SILENT:
                notes.append(_left_out(name))
            case _:
                pass
    if motion:
        try:
            travel_in(fields)
        except Refused as error:
            notes.append(error.detail)
        _move(motion, found, film=film)
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES:] = [f"{len(notes) - MOST_NOTES} more settings are left out."]
    return {name: value for name, value in fields.items() if value not in (None, "")}, notes


def _enlarge(settings: dict[str, str], found: Translated) -> None:
    """Take the settings of the high-resolution fix."""
    payload: dict[str, Any] = {"enable_hr": True}
    for name, field in _SECOND_PASS.items():
        if name in settings:
            text = settings.pop(name)
            payload[field] = text if field == "hr_upscaler" else _real(text)
    second_pass(payload, found)


def _move(text: str, found: Translated, *, film: str) -> None:
    """Add what AnimateDiff's arguments in an infotext say, as its API would."""
    arguments: dict[str, Any] = {}
    defaults = dict(ARGUMENTS)
    for part in text.split(", "):
        name, colon, value = (word.strip() for word in part.partition(":"))
        if name in _UNREAD:
            continue
        read = _value(value, like=defaults[name]) if colon and name in defaults else None
        if read is None:
            found.notes.append(_left_out(f"AnimateDiff {name}"))
        elif name in _BLENDED:
            found.fields[_BLENDED[name]] = read
        else:
            arguments[name] = read
    if arguments.get("freeinit_enable") and "freeinit_iters" not in arguments:
        rounds = defaults["freeinit_iters"]
        found.notes.append(f"The file does not say freeinit_iters; {rounds} are made.")
    while True:
        trial = Translated(dict(found.fields))
        try:
            animate({**defaults, **arguments}, trial, film=film)
        except Refused as error:
            # Without the argument that is refused, the rest may still be used.
            name = error.errors[0].field.removeprefix(f"{AT}.") if error.errors else ""
            if name not in arguments:  # no value of the file is at fault
                found.notes.append(error.detail)
                return
            del arguments[name]
            found.notes.append(_left_out(f"AnimateDiff {name}"))
            continue
        found.fields |= trial.fields
        found.notes += trial.notes
        return


def _left_out(name: str) -> str:
    return f"{name!r:.60} has no setting here and is left out."


def _value(text: str, *, like: object) -> Any:
    """An argument of the type of its default; ``None`` if the text is of another."""
    match like:
        case bool():
            return {"True": True, "False": False}.get(text)
        case int() | float():
            return -1 if text == "-1" else _real(text)
        case str():
            return text
        case _:
            return None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,20}", text.strip()) else None


def _real(text: str) -> float | int | None:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", text.strip()):
        return None
    value = float(text)
    return int(value) if value.is_integer() else value
