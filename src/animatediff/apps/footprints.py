"""What steers a model, in numbers: parameters and memory of each network, and seconds of each stage."""

from __future__ import annotations

import dataclasses
from typing import Any

from animatediff.sampling.animator import Animation, Animator
from animatediff.sampling.loaded.loading import files_used
from animatediff.sampling.loaded.tensors import tensors_in
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.roles import ROLES, RoleName

STEERING: tuple[RoleName, ...] = (
    "control",
    "ip-adapter",
    "image-encoder",
    "camera",
    "object-motion",
)
"""Roles whose files are networks beside the model."""


@dataclasses.dataclass(frozen=True)
class Footprint:
    """One network beside the model.

    Attributes:
        role: what it is used as.
        name: of its file.
        parameters: how many numbers it has.
        num_bytes: memory of those numbers.
    """

    role: RoleName
    name: str
    parameters: int
    num_bytes: int

    def __str__(self) -> str:
        size = f"{self.parameters / 1e6:.1f} M parameters, {self.num_bytes / 1e9:.2f} GB"
        return f"{ROLES[self.role].title} {self.name}: {size}"


def footprints(animator: Animator, request: AnimationRequest) -> list[Footprint]:
    """The networks beside a loaded model that a settled request uses, each file once."""
    used = files_used(animator.files, request)
    found: dict[tuple[RoleName, str], Footprint] = {}
    for role in STEERING:
        named = [
            path.name for key, path in used.items() if key == role or key.startswith(f"{role}:")
        ]
        for added, name in zip(_distinct(animator.added.get(role, ())), named, strict=False):
            tensors = {id(tensor): tensor for tensor in tensors_in(added)}.values()
            found[role, name] = Footprint(
                role,
                name,
                sum(tensor.numel() for tensor in tensors),
                sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            )
    return list(found.values())


def steers(request: AnimationRequest) -> bool:
    """Whether anything beside the prompt steers an animation."""
    return bool(
        request.controls
        or request.ip_adapters
        or request.camera
        or request.object_motion
        or request.image
    )


def seconds_of(animation: Animation) -> str:
    """How long each stage took."""
    spent = animation.report.seconds
    return ", ".join(f"{seconds:.1f} s to {stage}" for stage, seconds in spent.items())


def _distinct(several: tuple[Any, ...]) -> list[Any]:
    return list({id(each): each for each in several}.values())
