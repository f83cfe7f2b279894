"""One record for each family of motion modules: everything that a checkpoint's version decides.

Which normalisations look at one frame and which at all, which noise schedule a module was trained
with, how many frames it knows, how its authors sample: with any of these wrong a module still loads
and draws, only badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from animatediff.errors import InputError

if TYPE_CHECKING:
    from animatediff.model.motion_module import NormScope

BetaSchedule = Literal["linear", "scaled_linear"]
"""In diffusers' words; others call ``linear`` "sqrt_linear" and ``scaled_linear`` "linear"."""

Spacing = Literal["leading", "linspace", "trailing"]
"""Which of the 1000 steps of diffusion a sampler visits, in diffusers' words."""

Base = Literal["sd15", "sdxl", "own"]
"""The image models a module was made for: Stable Diffusion 1.5, SDXL, or one of this package."""

Numerics = Literal["faithful", "diffusers"]
"""``faithful`` normalises as each version's authors trained it, ``diffusers`` as diffusers does."""
NUMERICS: tuple[Numerics, ...] = get_args(Numerics)

BASES: Mapping[Base, str] = {
    "sd15": "Stable Diffusion 1.5",
    "sdxl": "SDXL",
    "own": "the built-in world",
}


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
        name: what files, options and messages call it.
        title: what people call it.
        base: the image models it was made for.
        resnet_norm_scope: what the image model's ResNet norms look at while this module is in it.
        motion_norm_scope: what the module's own norm looks at.
        betas: the noise it was trained with.
        position_rows: frames that its positions were made for; more is allowed, and drawn worse.
        positions_in_file: whether its authors' files hold a table of positions.
        mid: whether the middle block has a module.
        num_frames: frames of a clip as it was trained; as many are drawn where none are asked for.
        size: pixels of a side at its best.
        fps: frames a second at its best.
        scheduler: the sampler of its authors.
        spacing: the steps that their sampler visits; nothing is the sampler's own choice.
        lcm_steps: the steps that it was distilled from, for the ``lcm`` sampler.
        steps: how many steps they take.
        guidance: how strongly their prompts pull.
        companion: a file that it needs beside it, in the words of its users.
        refusal: why it cannot be used yet, or nothing if it can.
    """

    name: str
    title: str = ""
    base: Base = "sd15"
    resnet_norm_scope: NormScope = "frame"
    motion_norm_scope: NormScope = "frame"
    betas: Betas = Betas()
    position_rows: int = 32
    positions_in_file: bool = True
    mid: bool = False
    num_frames: int = 16
    size: int = 512
    fps: int = 8
    scheduler: str = "ddim"
    spacing: Spacing | None = None
    lcm_steps: int = 100
    steps: int = 25
    guidance: float = 7.5
    companion: str = ""
    refusal: str = ""

    def with_numerics(self, numerics: Numerics) -> Family:
        """The same family as it trained, or as diffusers computes every one of them.

        diffusers takes a motion module's statistics over the frames and the ResNets' per frame,
        whatever the version; of the published ones only SDXL beta was trained so.
        """
        if numerics == "faithful":
            return self
        return replace(self, motion_norm_scope="video", resnet_norm_scope="frame")


def _lightning(steps: int) -> Family:
    """One of the four files of AnimateDiff-Lightning, distilled from version 2."""
    return Family(
        name=f"lightning-{steps}step",
        title=f"AnimateDiff-Lightning, {steps} step{'s' if steps > 1 else ''}",
        mid=True,
        scheduler="euler",
        spacing="trailing",
        steps=steps,
        guidance=1.0,
    )


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="emoji",
            title="the built-in motion module",
            base="own",
            position_rows=16,
            positions_in_file=False,
            size=128,
            scheduler="unipc",
            steps=10,
            guidance=3.0,
        ),
        Family(name="v1", title="AnimateDiff v1", resnet_norm_scope="video", position_rows=24),
        Family(name="v2", title="AnimateDiff v2", mid=True),
        Family(name="v3", title="AnimateDiff v3"),
        Family(
            name="sdxl-beta",
            title="AnimateDiff SDXL beta",
            base="sdxl",
            motion_norm_scope="video",
            betas=Betas(schedule="scaled_linear", end=0.020),
            size=1024,
            scheduler="euler",
            spacing="leading",
            steps=100,
        ),
        Family(
            name="animatelcm",
            title="AnimateLCM",
            position_rows=64,
            positions_in_file=False,
            mid=True,
            scheduler="lcm",
            steps=6,
            guidance=2.0,
            companion="AnimateLCM_sd15_t2v_lora.safetensors:0.8",
        ),
        Family(
            name="animatelcm-i2v",
            title="AnimateLCM image-to-video",
            betas=Betas(end=0.014),
            position_rows=64,
            positions_in_file=False,
            mid=True,
            scheduler="lcm",
            lcm_steps=200,
            steps=6,
            guidance=2.0,
            refusal="it animates a given picture through an image encoder of its own",
        ),
        *map(_lightning, (1, 2, 4, 8)),
        Family(
            name="hotshot-xl",
            title="Hotshot-XL",
            base="sdxl",
            resnet_norm_scope="video",
            betas=Betas(schedule="scaled_linear"),
            position_rows=24,
            num_frames=8,
            scheduler="euler-a",
            spacing="leading",
            steps=30,
        ),
        Family(
            name="pia",
            title="PIA",
            mid=True,
            refusal="it animates a given picture through nine channels of input",
        ),
        Family(
            name="longanimatediff",
            title="LongAnimateDiff",
            position_rows=64,
            mid=True,
            num_frames=64,
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
