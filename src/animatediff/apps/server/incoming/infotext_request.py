"""A request that does what an infotext says, and notes on what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from animatediff.apps.server.a1111 import sampler_of, travel_in
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.incoming.infotext import settings_of


def request_of(infotext: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of a request that an infotext gives, and what it has no field for, in sentences."""
    settings, prompt, negative = settings_of(infotext)
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    notes: list[str] = []
    motion = dict(
        part.split(": ", 1) for part in settings.pop("AnimateDiff", "").split(", ") if ": " in part
    )
    schedule = settings.pop("Schedule type", "")
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
                    fields["scheduler"] = sampler_of(f"{value} {schedule}")
                except Refused:
                    notes.append(f"The sampler {value!r:.60} is not here; the default is used.")
            case "Model":
                fields["model"] = value
            case "VAE":
                fields["vae"] = value
            case "Model hash" | "VAE hash" | "Version" | "Lora hashes" | "TI hashes":
                pass
            case _:
                notes.append(f"{name!r:.60} has no setting here and is left out.")
    _motion_settings(motion, fields, notes)
    if motion:
        try:
            travel_in(fields)
        except Refused as error:
            notes.append(error.detail)
    return {name: value for name, value in fields.items() if value not in (None, "")}, notes


def _motion_settings(motion: Mapping[str, str], fields: dict[str, Any], notes: list[str]) -> None:
    if not motion:
        return
    if motion.get("model"):
        fields["motion"] = motion["model"]
    fields["num_frames"] = _whole(motion.get("video_length", "")) or _whole(
        motion.get("batch_size", "")
    )
    fields["fps"] = _real(motion.get("fps", ""))
    if motion.get("closed_loop") == "A":
        fields["loop"] = True
    if motion.get("freeinit_enable") == "True":
        fields["free_init"] = _whole(motion.get("freeinit_iters", ""))
    if motion.get("interp", "Off") != "Off":
        fields["interpolate"] = _whole(motion.get("interp_x", ""))
        notes.append("Frames are interpolated by optical flow, not by FILM.")


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,20}", text.strip()) else None


def _real(text: str) -> float | int | None:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", text.strip()):
        return None
    value = float(text)
    return int(value) if value.is_integer() else value
