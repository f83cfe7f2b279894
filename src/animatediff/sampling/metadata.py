"""Metadata of animations: the request for this package, and infotext for other programs."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, InputError
from animatediff.sampling.infotext import infotext
from animatediff.sampling.inputs import input_digests, input_files
from animatediff.sampling.loaded.loading import files_named
from animatediff.sampling.request import MAX_JSON, AnimationRequest
from animatediff.sampling.video_to_video.options import GIVEN_FRAMES
from animatediff.sampling.windows.plan import WindowPlan
from animatediff.video import read_metadata
from animatediff.weights.storage.files import sha256_of

OURS, INFOTEXT = "animatediff", "parameters"


@dataclass(frozen=True)
class Report:
    """How an animation was made.

    Attributes:
        notes: sentences about deviations from the request.
        family: of the motion module; empty without one.
        windows: of the motion module.
        device: the device.
        precision: of the denoiser.
        versions: of this package and its libraries.
        template: the prompts before wildcards were resolved, if they had any.
        coverage: used modules of each LoRA, such as ``192/192 modules``.
        sha256s: of the weight files, by role.
        seconds: duration of each stage.
    """

    notes: tuple[str, ...]
    family: str
    windows: WindowPlan
    device: str
    precision: str
    versions: Mapping[str, str]
    template: Mapping[str, str]
    coverage: Mapping[str, str]
    sha256s: Mapping[str, str]
    seconds: Mapping[str, float] = field(compare=False)


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of everything that affects the result."""
    found: dict[str, str] = {}
    for name in ("animatediff", "torch", "diffusers", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe(request: AnimationRequest, report: Report) -> dict[str, str]:
    """Return a file's metadata; without times, so that equal requests give equal files."""
    ours = {
        "request": request.as_table(),
        "family": report.family,
        "versions": dict(report.versions),
        "device": report.device,
        "precision": report.precision,
        "template": dict(report.template),
        "loras": dict(report.coverage),
        "sha256": dict(report.sha256s),
        "notes": list(report.notes),
    }
    return {
        OURS: json.dumps(ours, ensure_ascii=False),
        INFOTEXT: infotext(request, report),
    }


def load_request(path: str | Path, *, check_weights: bool = True) -> AnimationRequest:
    """Read the request from an animation's file.

    Args:
        path: a file that ``Animation.save`` wrote.
        check_weights: raise if the weight files have changed.

    Raises:
        FileError: the file cannot be read, has no request, or was made with other weights.
        InputError: it names missing weights.
    """
    path = Path(path)
    texts = read_metadata(path)
    if OURS not in texts:
        raise FileError(f"{path} carries no request; only files written by animatediff do.")
    ours = _table(texts[OURS])
    try:
        stored = ours.get("request")
        request = AnimationRequest.from_table(stored if isinstance(stored, dict) else {})
    except InputError as error:
        raise FileError(f"{path} carries a request that cannot be used: {error}") from None
    if check_weights:
        _check_weights(path, request=request, recorded=ours.get("sha256"))
    return request


def _check_weights(path: Path, *, request: AnimationRequest, recorded: Any) -> None:
    known = recorded if isinstance(recorded, dict) else {}
    for role, file in files_named(request).items():
        if known.get(role) != sha256_of(file):
            raise FileError(
                f"{path} was made with another version of {file}; "
                "install the version that made it, or animate its prompt anew."
            )
    _check_inputs(path, request=request, known=known)


def _check_inputs(path: Path, *, request: AnimationRequest, known: Mapping[str, Any]) -> None:
    """Raise if an input of the animation is missing or has changed."""
    if request.init == GIVEN_FRAMES:
        raise FileError(
            f"{path} began from frames that a Python program gave, and carries no copy of them; "
            "give the same frames again as init."
        )
    try:
        digests = input_digests(request)
    except FileError as error:
        raise FileError(f"{path} follows inputs that are not all here: {error}") from None
    changed = next((role for role, digest in digests.items() if known.get(role) != digest), None)
    if changed is not None:
        name = input_files(request)[changed][0]
        raise FileError(
            f"{path} was made from another version of {name} ({changed}); put back the one that it "
            "was made from, or animate its prompt anew."
        )


def _table(text: str) -> dict[str, Any]:
    """Return a table from untrusted metadata; an empty one for anything else."""
    try:
        table = json.loads(text) if len(text) <= MAX_JSON else {}
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
