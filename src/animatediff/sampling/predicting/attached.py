"""Everything that a request attaches to the loaded model, and takes off again afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from animatediff.model.free_u import FreeU, factors_for
from animatediff.model.offload import Offload, copies_to
from animatediff.runtime import Runtime
from animatediff.sampling.ask import Around
from animatediff.sampling.camera.followed import camera_of
from animatediff.sampling.image_prompts.build import image_prompts_of
from animatediff.sampling.image_to_video.moved import Moved, moved_picture
from animatediff.sampling.loaded.changed_weights import ChangedWeights, changed_weights
from animatediff.sampling.loaded.loading import Parts
from animatediff.sampling.loaded.tensors import networks_in
from animatediff.sampling.object_motion.followed import object_motion_of
from animatediff.sampling.predicting.motion_strength import motion_strength_of
from animatediff.sampling.predicting.views import views_in
from animatediff.sampling.settled import Settled


@dataclass(frozen=True)
class Attached:
    """What is attached to the model for one animation.

    Attributes:
        weights: the changed weights.
        inner: wrappers next to the model, the innermost first.
        moved: the picture of image-to-video.
    """

    weights: ChangedWeights
    inner: tuple[Around, ...]
    moved: Moved


@contextmanager
def attached(settled: Settled, parts: Parts, *, runtime: Runtime) -> Generator[Attached]:
    """Attach everything that a request asks for, while the context lasts.

    Args:
        settled: the request.
        parts: the loaded model.
        runtime: chooses the fast paths.
    """
    from animatediff.model.fast.drawing import draw_fast  # imports diffusers

    base, animated, added = parts.base, parts.animated, parts.added
    with ExitStack() as stack:
        camera = stack.enter_context(
            camera_of(settled, camera=parts.only("camera"), animated=animated, device=base.device)
        )
        weights = stack.enter_context(
            changed_weights(
                settled,
                styles=[parts.loras.read(path) for path, _ in settled.styles],
                adapter=parts.only("adapter"),
                motion_loras=added.get("motion-lora", ()),
            )
        )
        stack.callback(draw_fast(animated, runtime).remove)
        if runtime.memory == "low":
            bring = copies_to(base.device)
            stack.callback(Offload(networks_in(parts.waiting), bring=bring).remove)
        if settled.request.free_u != "off":
            free_u = FreeU(base.unet, factors_for(base.unet), version=settled.request.free_u)
            stack.callback(free_u.remove)
        stack.enter_context(torch.inference_mode())
        within = stack.enter_context(views_in(animated, plan=settled.views))
        strength = stack.enter_context(motion_strength_of(settled, animated=animated))
        pictures = stack.enter_context(
            image_prompts_of(
                settled,
                adapters=added.get("ip-adapter", ()),
                encoders=added.get("image-encoder", ()),
                base=base,
            )
        )
        paths = stack.enter_context(
            object_motion_of(
                settled,
                motion=parts.only("object-motion"),
                animated=animated,
                device=base.device,
            )
        )
        moved = stack.enter_context(
            moved_picture(settled, reads=parts.picture, base=base, family=parts.family)
        )
        fed = (strength, pictures, *camera, *paths, *moved.inner)
        inner = (within.views, *fed, within.clip_by_clip)
        yield Attached(weights, inner, moved)
