"""MotionCtrl's camera module: the pose of each frame joins the tokens between two attentions.

Wang et al., arXiv 2312.03641, Sec. 3.2. In each motion module, twelve numbers of a frame's pose are
appended to its tokens before the last attention, and a linear layer brings them back to their width:

    h' = projection([h, pose])
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.camera.posed_attention import temporal_block

POSE = 12
"""Numbers of a pose: rotation and translation, 3 x 4."""
REPLACED = ("attention_blocks.1.", "norms.1.")
"""What else of each module the camera module was trained with."""


@dataclass(frozen=True)
class CameraWeights:
    """A camera module's weights at one site.

    Attributes:
        projection: the linear layer.
        replaced: parameters of the motion module that it was trained with, by their name there.
    """

    projection: nn.Linear
    replaced: Mapping[str, nn.Parameter]


class ProjectedCamera:
    """Puts a camera module into motion modules; ``remove`` restores them exactly.

    Without poses given, the parameters that belong to it are in place, and nothing is projected.

    Args:
        animated: the U-Net with its motion modules.
        weights: those of each site.
    """

    def __init__(self, animated: AnimatedUNet, weights: Mapping[str, CameraWeights]) -> None:
        self._clip = animated.clip
        self._poses: Tensor | None = None
        self._scales: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        self._before: list[tuple[nn.Module, str, nn.Parameter]] = []
        self._residuals: dict[str, Tensor] = {}
        for site, own in weights.items():
            block = temporal_block(animated, site)
            for path, parameter in own.replaced.items():
                layer_path, _, name = path.rpartition(".")
                layer = block.get_submodule(layer_path)
                self._before.append((layer, name, getattr(layer, name)))
                setattr(layer, name, parameter)
            norm, attention = block.norms[0], block.attention_blocks[0]
            self._handles.append(norm.register_forward_hook(self._keeping(site)))
            self._handles.append(attention.register_forward_hook(self._projecting(site, own)))

    @contextmanager
    def given(self, poses: Float[Tensor, "bf 12"], scales: Float[Tensor, " bf"]) -> Generator[None]:
        """Project these poses inside this context, each frame's as much as its scale says."""
        self._poses, self._scales = poses, scales
        try:
            yield
        finally:
            self._poses, self._scales = None, None
            self._residuals.clear()

    def remove(self) -> None:
        """Restore the motion modules; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        for layer, name, parameter in self._before:
            setattr(layer, name, parameter)
        self._handles.clear()
        self._before.clear()

    def _keeping(self, site: str) -> Any:
        def keep(_layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            if self._poses is not None:
                self._residuals[site] = inputs[0]

        return keep

    def _projecting(self, site: str, own: CameraWeights) -> Any:
        def project(_layer: nn.Module, _inputs: Any, attended: Tensor) -> Tensor | None:
            if self._poses is None or self._scales is None:
                return None
            before = self._residuals.pop(site)
            tokens = before + attended
            clip, clips = self._clip, len(tokens) // self._clip.num_frames
            poses = clip.seen(self._poses, clips=clips).to(tokens)
            poses = poses[:, None].expand(-1, tokens.shape[1], -1)
            scales = clip.seen(self._scales, clips=clips).to(tokens)[:, None, None]
            projected = own.projection(torch.cat([tokens, poses], dim=-1))
            # The block adds what it had before the attention.
            return attended + scales * (projected - tokens)

        return project
