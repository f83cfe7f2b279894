"""How strongly motion modules act: a factor of the keys of temporal attention, and one of the result.

Larger keys make attention along the frames sharper, which gives more motion. The effect blends the
module's output with its input: at 0 the module does nothing. Both may differ by frame and place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_module import TemporalAttention

Factor = Float[Tensor, "f _ _"]
"""For each frame, and for each place of a map of any size; a map of one place is the whole frame."""


@dataclass(frozen=True)
class Factors:
    """The factors of one site.

    Attributes:
        keys: of the keys of temporal attention.
        effect: of what the module adds.
    """

    keys: Factor
    effect: Factor


class MotionStrength:
    """Applies factors to the motion modules of a model, until ``remove``.

    Args:
        animated: the model.
    """

    def __init__(self, animated: AnimatedUNet) -> None:
        self.factors: Mapping[str, Factors] = {}
        """By site; a site that is left out acts as trained."""
        self._clip = animated.clip
        self._size: tuple[int, int] = (1, 1)
        self._handles: list[RemovableHandle] = []
        for name, module in animated.motion.items():
            self._handles.append(module.register_forward_pre_hook(self._remember))
            self._handles.append(module.register_forward_hook(self._effect_at(name)))
            for layer in module.modules():
                if isinstance(layer, TemporalAttention):
                    self._handles.append(layer.to_k.register_forward_hook(self._keys_at(name)))

    def remove(self) -> None:
        """Let the modules act as trained; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _remember(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        height, width = inputs[1].shape[2:]
        self._size = (height, width)

    def _effect_at(self, site: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def effect(module: nn.Module, inputs: object, added: Tensor) -> Tensor | None:
            del module, inputs
            if site not in self.factors:
                return None
            factor = self._fitted(self.factors[site].effect, added)
            return added * rearrange(factor, "bf h w -> bf 1 h w")

        return effect

    def _keys_at(self, site: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def keys(module: nn.Module, inputs: object, made: Tensor) -> Tensor | None:
            del module, inputs
            if site not in self.factors:
                return None
            keys, view = self.factors[site].keys, self._clip.view
            factor = self._fitted(keys if view is None else keys[list(view)], made)
            return made * rearrange(factor, "bf h w -> bf (h w) 1")

        return keys

    def _fitted(self, factor: Factor, like: Tensor) -> Float[Tensor, "bf h w"]:
        """A factor at the size of the site that is computed, for every clip."""
        if factor.shape[1:] != (1, 1):
            factor = F.adaptive_avg_pool2d(factor[:, None], self._size)[:, 0]
        clips = len(like) // len(factor)
        return factor.to(like).repeat(clips, 1, 1)
