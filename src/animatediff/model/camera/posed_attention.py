"""CameraCtrl's place in motion modules: poses enter the first temporal attention of each.

After the positions of the frames were added, and before queries, keys and values are made (Eq. 4 of
arXiv 2404.02101):

    h' = h + scale * merge(h + pose)
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_module import TemporalTransformerBlock

Plane = Float[Tensor, "bf c h w"]


def temporal_block(animated: AnimatedUNet, site: str) -> TemporalTransformerBlock:
    """The Transformer block of the motion module at a site."""
    return cast(
        TemporalTransformerBlock, animated.motion.get_submodule(f"{site}.transformer_blocks.0")
    )


def posed_sites(animated: AnimatedUNet) -> list[str]:
    """The sites whose modules are given poses: those of the down and up blocks."""
    return [site for site in animated.motion if not site.startswith("mid_")]


class PosedAttention:
    """Merges poses into motion modules while they are given, and changes nothing otherwise.

    Args:
        animated: the U-Net with its motion modules.
        merges: the layer ``merge`` of each site.
    """

    def __init__(self, animated: AnimatedUNet, merges: Mapping[str, nn.Module]) -> None:
        self._clip = animated.clip
        self._features: Mapping[str, Plane] = {}
        self._scales: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        for site, merge in merges.items():
            positions = temporal_block(animated, site).get_submodule(
                "attention_blocks.0.pos_encoder"
            )
            self._handles.append(positions.register_forward_hook(self._merging(site, merge)))

    @contextmanager
    def given(self, features: Mapping[str, Plane], scales: Float[Tensor, " bf"]) -> Generator[None]:
        """Merge these features inside this context.

        Args:
            features: of each site, a plane for each frame of each clip.
            scales: how much those of each frame count.
        """
        self._features, self._scales = features, scales
        try:
            yield
        finally:
            self._features, self._scales = {}, None

    def remove(self) -> None:
        """Take the hooks off; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _merging(self, site: str, merge: nn.Module) -> Any:
        def add(_layer: nn.Module, _inputs: Any, tokens: Tensor) -> Tensor | None:
            if self._scales is None:
                return None
            clip, clips = self._clip, len(tokens) // self._clip.num_frames
            planes = clip.seen(self._features[site], clips=clips)
            pose = rearrange(planes, "bf c h w -> bf (h w) c").to(tokens)
            scales = clip.seen(self._scales, clips=clips).to(tokens)[:, None, None]
            return tokens + scales * merge(tokens + pose)

        return add
