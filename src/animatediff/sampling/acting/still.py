"""Move the still that an animation begins from by the request's action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from animatediff.runtime import Runtime
from animatediff.sampling.acting.options import acts, parse_action
from animatediff.sampling.ask import Latents
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.watch import Watch
from animatediff.video.acted import acted
from animatediff.video.actions import Action
from animatediff.weights.image_model.base_model import BaseModel


@dataclass(frozen=True)
class MovedStill:
    """What all frames begin from.

    Attributes:
        latents: clean latents of every frame; ``None`` if the animation begins from noise alone.
        frames: the same as pictures, if they are the animation: it acts, and no step denoises it.
    """

    latents: Latents | None
    frames: UInt8[np.ndarray, "f height width 3"] | None = None


def acting(
    still: Latents | None, settled: Settled, *, base: BaseModel, runtime: Runtime, watch: Watch
) -> MovedStill:
    """Move a still by the action of a request, if it has one.

    Where no denoising step follows, the moved pictures are the frames: another pass through the
    autoencoder would only blur them.

    Args:
        still: clean latents of every frame; ``None`` if the animation begins from noise alone.
        settled: the request.
        base: the image model.
        runtime: where it runs.
        watch: asked whether to stop.

    Raises:
        Cancelled: ``watch`` asked to stop.
    """
    request = settled.request
    if still is None or request.action is None or not acts(request):
        return MovedStill(still)
    name, strength = parse_action(request.action)
    action = Action.usual(
        name,
        strength=strength,
        seconds=float(settled.num_frames / request.rate),
        num_frames=settled.num_frames,
    )
    drawn = still[:, :, :1]
    is_one = torch.equal(still, drawn.expand_as(still))
    pictures = decode(
        drawn if is_one else still,
        vae=base.vae,
        runtime=runtime,
        tile=request.vae_tile,
        should_stop=watch.should_stop,
    )
    if is_one:
        pictures = np.repeat(pictures, settled.num_frames, axis=0)
    moved = acted(pictures, action)
    latents = encoded(moved, vae=base.vae, device=base.device)
    is_final = settled.first >= settled.steps and request.hires == 1
    return MovedStill(latents, moved if is_final else None)
