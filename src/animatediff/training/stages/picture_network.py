"""A SparseCtrl network that shows frames of the clips, frozen, while motion modules learn.

Motion modules that were trained without it draw things of their own where the network asks for the
picture's. With it they learn to move what they are shown (arXiv 2311.16933).
"""

from __future__ import annotations

import torch

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.control.sparse_control import SparseControl
from animatediff.runtime import channels_last
from animatediff.training.lessons.clips import ClipLesson
from animatediff.training.lessons.hinted import (
    FIRST_ONLY_FOR_MOTION,
    UNSHOWN,
    SparseLesson,
    Steered,
)
from animatediff.training.stages.frozen_model import FrozenModel
from animatediff.training.stages.option_groups import PictureNetworkOptions
from animatediff.weights.control.file import read_control
from animatediff.weights.control.plan import plan_control
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.storage.files import sha256_of


def steered_by_pictures(frozen: FrozenModel, animated: AnimatedUNet) -> Steered | None:
    """The animated model with the network that ``--pictures`` names; ``None`` without it.

    Raises:
        InputError: it is no SparseCtrl rgb network.
        FileError: it is of another image model.
    """
    name = frozen.options.of(PictureNetworkOptions).pictures
    if name is None:
        return None
    path = resolve("control", name)
    unet = frozen.base.unet
    network = plan_control(read_control(path), unet).load(torch.float32, unet.device)
    if not isinstance(network, SparseControl) or network.version != "rgb":
        raise InputError(
            f"{path} is not shown pictures of single frames; give a SparseCtrl rgb network as "
            "--pictures, such as the one that `animatediff train sparse-control` makes."
        )
    channels_last(network).requires_grad_(False)
    frozen.facts["pictures"] = sha256_of(path)
    return Steered(animated, network)


def shown_pictures(lesson: ClipLesson, steered: Steered) -> SparseLesson:
    """The lesson of motion modules, with most clips' frames shown to the network."""
    return SparseLesson(lesson, steered, first_only=FIRST_ONLY_FOR_MOTION, unshown=UNSHOWN)
