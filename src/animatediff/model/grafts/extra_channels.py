"""Extra input channels of an image model, as a graft on its first convolution.

Some models are given more than noisy latents: inpainting a mask and the masked picture (Rombach et al.,
arXiv 2112.10752), PIA a condition frame and how much each frame resembles it (arXiv 2312.13964). A
convolution is linear in its input, so the extra channels are a branch that is added to what ``conv_in``
computes of the latents, and the image model keeps its four channels.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.grafts.graft import Graft

Extra = Float[Tensor, "b e f h w"]


class ExtraChannels(nn.Module):
    """The branch: the part of a convolution's weight that is for extra channels.

    Args:
        weight: that part, with as many input channels as there are extra ones.
        host: the convolution of the latents; the branch has its stride and padding.

    Raises:
        InputError: the weight does not fit the convolution.
    """

    def __init__(self, weight: Float[Tensor, "out e k k"], *, host: nn.Conv2d) -> None:
        super().__init__()
        shape, own = tuple(weight.shape), tuple(host.weight.shape)
        if (shape[0], shape[2:]) != (own[0], own[2:]) or shape[1] < 1:
            raise InputError(
                f"Weights of shape {shape} for extra input channels do not fit a first convolution of "
                f"shape {own}; only the number of input channels may differ."
            )
        self.weight = nn.Parameter(weight.to(host.weight.dtype), requires_grad=False)
        self.stride, self.padding = host.stride, host.padding
        self._planes: tuple[Tensor, ...] = ()

    @contextmanager
    def given(self, extra: Extra) -> Generator[None]:
        """Use these values of the extra channels, inside this context."""
        before = self._planes
        self._planes = (rearrange(extra, "b e f h w -> (b f) e h w").to(self.weight.dtype),)
        try:
            yield
        finally:
            self._planes = before

    def forward(self, inputs: Tensor, output: Tensor) -> Float[Tensor, "bf out h w"]:
        """What the extra channels add to ``output``.

        Raises:
            InputError: the extra channels have no values, or not one for each frame.
        """
        if not self._planes or len(self._planes[0]) != len(output):
            count = len(self._planes[0]) if self._planes else 0
            raise InputError(
                f"This model has {self.weight.shape[1]} extra input channels, and {count} frames of "
                f"them were given for {len(output)} frames of latents; give one for each."
            )
        return F.conv2d(self._planes[0], self.weight, stride=self.stride, padding=self.padding)


def graft_extra_channels(
    conv_in: nn.Conv2d, weight: Float[Tensor, "out e k k"]
) -> tuple[Graft, ExtraChannels]:
    """Graft extra input channels on the first convolution of an image model.

    Returns:
        The graft, to be removed, and its branch, to be given values.
    """
    branch = ExtraChannels(weight, host=conv_in)
    return Graft(branch).attach(conv_in), branch
