"""One record for each family of motion modules: everything that a checkpoint's version decides.

Which normalisations look at one frame and which at all, which noise schedule a module was trained
with, how many frames it knows: with any of these wrong a module still loads and draws, only badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from animatediff.errors import InputError

if TYPE_CHECKING:
    from animatediff.model.motion_module import NormScope

BetaSchedule = Literal["linear", "scaled_linear"]
"""In diffusers' words; others call ``linear`` "sqrt_linear" and ``scaled_linear`` "linear"."""


@dataclass(frozen=True, kw_only=True)
class Betas:
    """How the variance of the noise grows over the 1000 steps of diffusion.

    Attributes:
        schedule: along the betas, or along their roots.
        start: the first beta.
        end: the last beta.
    """

    schedule: BetaSchedule = "linear"
    start: float = 0.00085
    end: float = 0.012


@dataclass(frozen=True, kw_only=True)
class Family:
    """Everything that the version of a motion module decides.

    Attributes:
        name: what files and messages call it.
        resnet_norm_scope: what the image model's ResNet norms look at while this module is in it.
        motion_norm_scope: what the module's own norm looks at.
        betas: the noise it was trained with.
        position_rows: frames that its positions were made for; more is allowed, and drawn worse.
        mid: whether the middle block has a module.
        num_frames: frames of a clip at its best.
        size: pixels of a side at its best.
        fps: frames a second at its best.
        scheduler: the sampler of its authors.
        steps: how many steps they take.
        guidance: how strongly their prompts pull.
    """

    name: str
    resnet_norm_scope: NormScope = "frame"
    motion_norm_scope: NormScope = "frame"
    betas: Betas = Betas()
    position_rows: int = 32
    mid: bool = False
    num_frames: int = 16
    size: int = 512
    fps: int = 8
    scheduler: str = "ddim"
    steps: int = 25
    guidance: float = 7.5


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(name="emoji", position_rows=16, size=128, guidance=3.0),
        Family(name="v1", resnet_norm_scope="video", position_rows=24),
        Family(name="v2", mid=True),
        Family(name="v3"),
        Family(
            name="sdxl-beta",
            motion_norm_scope="video",
            betas=Betas(schedule="scaled_linear", end=0.020),
            size=1024,
            scheduler="euler",
            steps=100,
        ),
    )
}


def family_of(name: str) -> Family:
    """The family of that name.

    Raises:
        InputError: there is none.
    """
    if name not in FAMILIES:
        raise InputError(f"There is no family {name!r}; known are {', '.join(FAMILIES)}.")
    return FAMILIES[name]
