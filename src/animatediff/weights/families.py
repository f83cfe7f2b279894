"""Families of motion modules: everything that a checkpoint's version decides.

This includes which norms cover one frame and which all frames, the noise schedule of the training,
the number of frames, and the authors' sampler. With any of these wrong, a module still loads and
draws, but badly.
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
"""Which of the 1000 timesteps a sampler visits, in diffusers' words."""

Base = Literal["sd15", "sdxl", "own"]
"""The image models that a module fits: Stable Diffusion 1.5, SDXL, or this package's own."""

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
    """Growth of the noise variance over the 1000 timesteps.

    Attributes:
        schedule: linear in beta, or in its root.
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
        name: in files, options and messages.
        title: for people.
        base: the image models that it fits.
        resnet_norm_scope: scope of the image model's ResNet norms while this module is attached.
        motion_norm_scope: scope of the module's own norm.
        betas: the noise schedule of its training.
        position_rows: number of frames with positions; more frames work, but are drawn worse.
        positions_in_file: whether its authors' files contain a position table.
        mid: whether the middle block has a module.
        num_frames: frames of a training clip, and the default of ``--frames``.
        size: best picture size, in pixels of a side.
        fps: best frame rate.
        scheduler: its authors' sampler.
        spacing: timesteps of that sampler; ``None`` is the sampler's default.
        lcm_steps: number of steps of the distillation, for the ``lcm`` sampler.
        steps: default number of steps.
        guidance: default guidance scale.
        companion: a file that it needs in addition, in users' words.
        from_still: default of ``--from-still``; 1 begins from noise alone.
        from_hinted_stills: the same where every frame has a hint, and so a still of its own.
        carry: default of ``--carry``; 0 keeps frames as they were drawn.
        action_words: whether its image model knows no verbs, so that those of a prompt choose
            ``--action``.
        shared_noise: share of the noise's variance that frames have in common (arXiv 2305.10474).
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
    from_still: float = 1.0
    from_hinted_stills: float = 1.0
    carry: float = 0.0
    action_words: bool = False
    shared_noise: float = 0.0

    def with_numerics(self, numerics: Numerics) -> Family:
        """Return the family as it was trained, or as diffusers computes every family.

        diffusers takes a motion module's statistics over all frames and the ResNets' per frame,
        whatever the version. Of the published ones, only SDXL beta was trained so.
        """
        if numerics == "faithful":
            return self
        return replace(self, motion_norm_scope="video", resnet_norm_scope="frame")


def _lightning(steps: int) -> Family:
    """Return one of the four files of AnimateDiff-Lightning, distilled from version 2."""
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
            from_still=0.9,
            from_hinted_stills=0.7,
            carry=1.0,
            action_words=True,
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
            companion="AnimateLCM_sd15_t2v_lora.safetensors:0.8",
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
            resnet_norm_scope="video",
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
    """Return the family with that name.

    Raises:
        InputError: there is none.
    """
    if name not in FAMILIES:
        raise InputError(f"There is no family {name!r}; known are {', '.join(FAMILIES)}.")
    return FAMILIES[name]
