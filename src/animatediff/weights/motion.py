"""Motion modules to files and back: what a file is, whether it fits, and only then its numbers.

Our layout is ``{site}.{parameter}``, as ``AnimatedUNet.motion_state_dict`` gives it; what
the numbers alone do not say (branch, scope of the norms, family) is in the metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.model.motion_module import NormScope
from animatediff.weights.families import FAMILIES, Family
from animatediff.weights.files import Header, check_fit, read_header, read_weights, write_weights


@dataclass(frozen=True)
class MotionFile:
    """A motion module of which everything but the numbers is known.

    Attributes:
        header: its file's.
        family: what its version decides.
        branch: the paper's Transformer, or the convolution.
        mid: whether it has a module for the middle block.
        norm_scope: of its own norms.
        resnet_norm_scope: of the image model's norms while it is attached.
        heads: of its attention.
    """

    header: Header
    family: Family
    branch: Branch
    mid: bool
    norm_scope: NormScope
    resnet_norm_scope: NormScope
    heads: int


def read_motion(path: Path) -> MotionFile:
    """What a motion module's file says of itself.

    Raises:
        FileError: the file is broken, or is no motion module in our layout.
    """
    header = read_header(path)
    facts = header.metadata
    lacking = [
        key for key in ("family", "branch", "mid", "norm_scope", "heads") if key not in facts
    ]
    if lacking:
        raise FileError(f"{path} is not a motion module that can be used: {_what_else(header)}.")
    if facts["family"] not in FAMILIES:
        raise FileError(
            f"{path} is of the unknown family {facts['family']!r:.60}; "
            f"known are {', '.join(FAMILIES)}."
        )
    family = FAMILIES[facts["family"]]
    scopes = get_args(NormScope)
    return MotionFile(
        header=header,
        family=family,
        branch=cast(Branch, _one_of(header, "branch", get_args(Branch))),
        mid=_one_of(header, "mid", ("false", "true")) == "true",
        norm_scope=cast(NormScope, _one_of(header, "norm_scope", scopes)),
        resnet_norm_scope=cast(NormScope, _one_of(header, "resnet_norm_scope", scopes))
        if "resnet_norm_scope" in facts
        else family.resnet_norm_scope,
        heads=int(_one_of(header, "heads", tuple(map(str, range(1, 129))))),
    )


def inflate(unet: UNet2DConditionModel, motion: MotionFile) -> AnimatedUNet:
    """Graft the places for a motion module into a U-Net, both still without numbers.

    Raises:
        FileError: the module was made for another U-Net.
    """
    try:
        animated = AnimatedUNet(
            unet,
            branch=motion.branch,
            mid=motion.mid,
            norm_scope=motion.norm_scope,
            resnet_norm_scope=motion.resnet_norm_scope,
            heads=motion.heads,
        )
    except InputError as error:
        raise FileError(f"{motion.header.path} does not fit this model: {error}") from None
    wanted = {name: tuple(t.shape) for name, t in animated.motion_state_dict().items()}
    check_fit(motion.header, wanted, role="a motion module for this model")
    return animated


def fill_motion(
    animated: AnimatedUNet, motion: MotionFile, *, dtype: torch.dtype, device: torch.device
) -> None:
    """Read a motion module's numbers into the places that ``inflate`` made.

    Raises:
        FileError: the file changed since, or holds numbers that are not finite.
    """
    weights = read_weights(motion.header, dtype=dtype, device=device, refuse_nan=True)
    animated.motion.load_state_dict(weights, strict=True, assign=True)
    animated.motion.requires_grad_(False).eval()


def write_motion(path: Path, animated: AnimatedUNet, *, family: Family) -> Path:
    """Write a motion module so that ``read_motion`` rebuilds it as it was.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    facts = {
        "kind": "motion",
        "family": family.name,
        "branch": animated.branch,
        "mid": "true" if animated.mid else "false",
        "norm_scope": animated.norm_scope,
        "resnet_norm_scope": animated.resnet_norm_scope,
        "heads": str(animated.heads),
    }
    return write_weights(path, animated.motion_state_dict(), metadata=facts)


def _what_else(header: Header) -> str:
    """What a file that is no motion module of ours looks like."""
    names = header.shapes
    if any(".motion_modules." in f".{name}" for name in names):
        return "it is in another project's layout, and must be converted first"
    if any(name.endswith((".up.weight", ".lora_up.weight", ".lora_B.weight")) for name in names):
        return "it is a LoRA"
    if any(
        name.startswith(("down_blocks.", "decoder.", "model.diffusion_model.")) for name in names
    ):
        return "it holds an image model or a part of one"
    return "its metadata do not say its family, branch, mid, norm_scope and heads"


def _one_of(header: Header, key: str, choices: tuple[str, ...]) -> str:
    value = header.metadata[key]
    if value not in choices:
        shown = ", ".join(choices) if len(choices) < 8 else f"{choices[0]} to {choices[-1]}"
        raise FileError(f"{header.path} says {key} = {value!r:.60}, and it must be {shown}.")
    return value
