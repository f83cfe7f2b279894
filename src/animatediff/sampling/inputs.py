"""Every file besides weights that a request is made from, and its hash: pictures, videos and masks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.sampling.camera.files import camera_files, check_camera_files
from animatediff.sampling.control.inputs import check_control_files, control_files
from animatediff.sampling.image_prompts.inputs import (
    check_image_prompt_files,
    image_prompt_files,
)
from animatediff.sampling.regions.areas import area_of
from animatediff.sampling.regions.options import parse_region
from animatediff.sampling.video_to_video.options import GIVEN_FRAMES
from animatediff.video.material import files_of
from animatediff.weights.storage.files import sha256_of

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def check_input_files(request: AnimationRequest) -> None:
    """Check every input of a request by headers and names, before a model is loaded.

    Raises:
        InputError: inputs and networks do not match, or there is no such network.
        FileError: a file is broken or something else, or an input is missing.
    """
    check_control_files(request)
    check_image_prompt_files(request)
    check_camera_files(request)
    input_files(request)


def input_files(request: AnimationRequest) -> dict[str, tuple[Path, ...]]:
    """Every file that a request is made from, by its role.

    Raises:
        FileError: one is missing.
    """
    found = {**control_files(request), **image_prompt_files(request), **camera_files(request)}
    if request.init and request.init != GIVEN_FRAMES:
        found["init"] = files_of(Path(request.init).expanduser())
    if request.image:
        found["image"] = files_of(Path(request.image).expanduser())
    for number, region in enumerate(request.regions, start=1):
        found |= _mask_file(parse_region(region)[1], f"region:{number}")
    found |= _mask_file(request.motion_scale_mask, "motion-scale-mask")
    return found | _mask_file(request.motion_effect_mask, "motion-effect-mask")


def _mask_file(text: str, role: str) -> dict[str, tuple[Path, ...]]:
    """The files of a mask, unless it is an area."""
    if not text or area_of(text) is not None:
        return {}
    return {role: files_of(Path(text).expanduser())}


def input_digests(request: AnimationRequest) -> dict[str, str]:
    """The SHA-256 of every input; of a folder, that of its files' together.

    Raises:
        FileError: one is missing.
    """
    return {role: _digest(paths) for role, paths in input_files(request).items()}


def _digest(paths: tuple[Path, ...]) -> str:
    if len(paths) == 1:
        return sha256_of(paths[0])
    lines = (f"{path.name} {sha256_of(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
