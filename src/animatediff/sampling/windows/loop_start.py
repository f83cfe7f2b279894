"""Choose the first frame of a loop.

A closed animation has no first frame of its own: it may begin anywhere. It begins where neighbours
differ least, so that a player that halts or fades between rounds does so at the calmest moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def calmest_start(frames: UInt8[np.ndarray, "f h w 3"]) -> int:
    """The frame that differs least from the one before it; the last one is before the first."""
    changes = [
        np.abs(frames[frame].astype(np.int16) - frames[frame - 1]).mean()
        for frame in range(len(frames))
    ]
    return int(np.argmin(changes))


def may_begin_anywhere(request: AnimationRequest) -> bool:
    """Whether it is a loop in which nothing belongs to a frame by its number."""
    scales = (*request.motion_loras, *request.motion_scale, *request.motion_effect, request.adapter)
    tied = (
        request.prompts
        or request.negative_prompts
        or request.regions
        or request.init
        or request.image
        or request.controls
        or request.sparse
        or request.ip_images
        or request.camera_path
        or request.object_paths
        or request.motion_scale_mask
        or request.motion_effect_mask
        or any("frames(" in scale.replace(" ", "") for scale in scales)
    )
    return request.loop and not request.pingpong and not tied
