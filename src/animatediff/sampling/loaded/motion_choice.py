"""Check from headers whether a motion module fits an image model, before loading."""

from __future__ import annotations

from pathlib import Path

from animatediff.errors import FileError, InputError
from animatediff.weights.finding.builtin import BUILTIN
from animatediff.weights.finding.folders import list_found
from animatediff.weights.finding.model_folders import ModelFile, ModelFolder
from animatediff.weights.inspect import inspect
from animatediff.weights.inspection.kinds import BASE_TITLES

MOST_NAMED = 3
_KNOWN = ("sd15", "sd2", "sdxl")


def check_motion(model: ModelFolder | ModelFile, motion: Path | None) -> None:
    """Raise if only one of image model and motion module is built-in.

    Raises:
        InputError: they do not fit; the sentence names motion modules that would.
    """
    if motion is None or motion.is_relative_to(BUILTIN) == model.path.is_relative_to(BUILTIN):
        return
    own_model = model.path.is_relative_to(BUILTIN)
    try:
        found = inspect(motion if own_model else model.path)
    except FileError:
        return  # the reader says what is wrong with it, or that it is of another kind
    if found.kind != ("motion" if own_model else "checkpoint") or found.base not in _KNOWN:
        return
    if own_model:
        raise InputError(
            f"{motion} is for {BASE_TITLES[found.base]}, and the built-in model {model.name} is of "
            "another shape; give an image model that it fits with --model."
        )
    fitting = motions_for(found.base)
    if fitting:
        more = " or another one" if len(fitting) > MOST_NAMED else ""
        remedy = f"give --motion {' or '.join(fitting[:MOST_NAMED])}{more}"
    elif found.base == "sd2":
        remedy = "no motion modules for it are known: choose another model"
    else:
        name = "sdxl-beta" if found.base == "sdxl" else "v3"
        remedy = f"give one with --motion (animatediff models pull {name} fetches one)"
    raise InputError(
        f"{model.path} is for {BASE_TITLES[found.base]}, and the built-in motion module {motion.stem} "
        f"fits only the built-in model; {remedy}, or --motion none for pictures."
    )


def motions_for(base: str) -> list[str]:
    """Return the names of motion modules in the model folders that fit an image model."""
    names: list[str] = []
    for found in list_found("motion"):
        try:
            seen = inspect(found.path)
        except FileError:
            continue
        if seen.kind == "motion" and seen.base == base:
            names.append(found.name)
    return names
