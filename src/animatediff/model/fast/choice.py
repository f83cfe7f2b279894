"""Which fast paths a model takes: decided here alone, from where and how it runs.

A fast path computes a layer in another way, and equals the plain path within a tolerance that its test
states. While a model draws, GroupNorms of small maps run in plain layout (``plain_norms.py``). While it
learns, a step on clips computes the keys and values of the text once for a clip
(``text/shared_text.py``), convolves before it upsamples (``convolutions/folded_upsampling.py``), and
stores little for the backward pass but what is expensive to compute again (``recompute.py``,
``convolutions/frozen_convolution.py``): fp32 gradients differ by less than 1e-5 of their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.convolutions.folded_upsampling import fold_upsampling
from animatediff.model.fast.convolutions.frozen_convolution import forget_inputs
from animatediff.model.fast.plain_norms import plain_norms
from animatediff.model.fast.recompute import recompute_image_model
from animatediff.model.fast.replaced import Replaced
from animatediff.model.fast.text.shared_text import ClipAttention, takes_shared_text
from animatediff.model.motion_module import MotionModule
from animatediff.runtime import Runtime, device_of

WIDEST = 640
"""Channels of a motion module up to which the backward pass computes its projections again.

Each activation that is not stored costs a product for every channel, and the narrow modules of a U-Net,
which look at large maps, hold most activations: in Stable Diffusion 1.5 those of 320 and 640 channels
hold five sixths of them, for three fifths of the products.
"""


@dataclass(frozen=True)
class FastPaths:
    """The fast paths of one model.

    Attributes:
        plain_norms: GroupNorms of small bf16 maps in plain layout.
        plain_attention: attention of the image model as plain products, where it is not shared.
        shared_text: keys and values of the text once for a clip.
        folded_upsampling: convolve before upsampling.
        recompute: store little for the backward pass; not together with gradient checkpointing, which
            recomputes everything.
        small: the model is as small as the built-in one, where attention as plain products and norms of
            bf16 maps in plain layout are fastest, whatever they store.
    """

    plain_norms: bool = False
    plain_attention: bool = False
    shared_text: bool = False
    folded_upsampling: bool = False
    recompute: bool = False
    small: bool = False


def plan_fast_paths(
    runtime: Runtime,
    *,
    learns: bool,
    clips: bool = True,
    spares_memory: bool = False,
    small: bool = False,
) -> FastPaths:
    """The fast paths that pay off.

    Args:
        runtime: where and in which precision the model runs.
        learns: whether it is trained, or draws.
        clips: whether a lesson on clips or frames trains it; otherwise only attention is replaced.
        spares_memory: whether a training step should store little.
        small: whether the model is as small as the built-in one.
    """
    # On a GPU, fused attention is faster, and adding up the kernels may cost what folding saves.
    on_cpu = runtime.torch_device().type == "cpu"
    if not learns:
        return FastPaths(plain_norms=on_cpu and runtime.torch_dtype() == torch.bfloat16)
    return FastPaths(
        plain_attention=on_cpu,
        shared_text=clips,
        folded_upsampling=clips and on_cpu,
        recompute=clips and spares_memory,
        small=clips and small,
    )


def choose_fast_paths(
    unet: UNet2DConditionModel,
    *,
    animated: AnimatedUNet | None = None,
    runtime: Runtime | None = None,
    learns: bool,
    clips: bool = True,
    spares_memory: bool = False,
    small: bool = False,
) -> Taken:
    """Let a model take the fast paths that pay off, until the result's ``remove``.

    Args:
        unet: the image model.
        animated: the motion modules on it, if there are any.
        runtime: where and in which precision it runs; where its weights are, if ``None``.
        learns: as for ``plan_fast_paths``.
        clips: as for ``plan_fast_paths``.
        spares_memory: as for ``plan_fast_paths``.
        small: as for ``plan_fast_paths``.
    """
    runtime = runtime or Runtime(device=str(device_of(unet)))
    paths = plan_fast_paths(
        runtime, learns=learns, clips=clips, spares_memory=spares_memory, small=small
    )
    return Taken(paths, unet, animated=animated)


class Taken:
    """The fast paths that a model takes until ``remove``.

    Args:
        paths: which of them.
        unet: the image model.
        animated: the motion modules on it, if there are any.
    """

    def __init__(
        self, paths: FastPaths, unet: UNet2DConditionModel, *, animated: AnimatedUNet | None = None
    ) -> None:
        self.paths = paths
        self._unet, self._animated = unet, animated
        self._processors: Mapping[str, Any] = dict(unet.attn_processors)
        self._replaced: list[Replaced] = []
        self._modules: list[MotionModule] = []
        if paths.plain_norms:
            self._replaced.append(plain_norms(unet if animated is None else animated))
        if paths.small:
            self._replaced.append(plain_norms(unet, autocast=True))
        if paths.folded_upsampling:
            self._replaced.append(fold_upsampling(unet))
        if paths.recompute:
            self._replaced += [recompute_image_model(unet), forget_inputs(unet)]
            self._modules = list(_narrow_modules(animated))
        for module in self._modules:
            module.recomputes = True
        if paths.shared_text and takes_shared_text(unet):
            # diffusers' annotation lists its own classes only.
            processor: Any = ClipAttention(products=paths.small)
            unet.set_attn_processor(processor)
            if animated is not None:
                animated.shares_text = _always
        elif paths.plain_attention:
            # torch's fused attention spends over a third of a step in its backward pass on a CPU.
            unet.set_attn_processor(AttnProcessor())

    def remove(self) -> None:
        """Let the model compute as before; harmless if repeated."""
        for replaced in self._replaced:
            replaced.remove()
        for module in self._modules:
            module.recomputes = False
        if self._animated is not None:
            self._animated.shares_text = None
        if self._unet.attn_processors != self._processors:
            self._unet.set_attn_processor(dict(self._processors))


def _always() -> bool:
    return True


def _narrow_modules(animated: AnimatedUNet | None) -> list[MotionModule]:
    modules = () if animated is None else animated.motion.values()
    return [
        module
        for module in modules
        if isinstance(module, MotionModule) and module.proj_in.in_features <= WIDEST
    ]
