"""Noise that the frames of a clip have in common (PYoCo, arXiv 2305.10474, Sec. 4.1).

Neighbouring frames show nearly the same picture, and so would the noise behind them. Motion modules
that learn with such noise keep things together more easily. Animations must begin with the same noise
as in training, so its share is stored with the motion modules (``Family.shared_noise``).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def with_shared(
    noise: Float[Tensor, "batch c f h w"],
    common: Float[Tensor, "batch c 1 h w"],
    *,
    share: float,
) -> Float[Tensor, "batch c f h w"]:
    """Mix noise of each frame with noise that all frames have in common (the mixed noise model).

    Every frame's noise stays unit Gaussian, and that of two frames correlates by ``share``.

    Args:
        noise: unit Gaussian, independent in every frame.
        common: unit Gaussian, independent of ``noise``.
        share: of the variance, from 0 to 1; alpha^2 / (1 + alpha^2) in the paper.
    """
    return (1 - share) ** 0.5 * noise + share**0.5 * common
