"""How strongly motion modules act in a request: read from its options, and looked up for every ask."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_strength import Factors, MotionStrength
from animatediff.sampling.around.while_noisy import unwrapped
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.options.motion import BlockScale, parse_block_scale
from animatediff.sampling.regions.masks import read_mask
from animatediff.sampling.settled import Settled


@dataclass(frozen=True)
class _Strengths:
    """One kind of factor of all sites.

    Attributes:
        scales: of blocks; where several hold, they are multiplied.
        mask: where they hold, for every frame; ``None`` is everywhere.
        steps: denoising steps of the animation.
    """

    scales: tuple[BlockScale, ...]
    mask: Float[Tensor, "f h w"] | None
    steps: int

    def at(self, site: str, ask: Ask) -> Float[Tensor, "f h w"]:
        frames = ask.frames.tolist()
        factor = torch.ones(len(frames))
        for each in self.scales:
            if each.holds_at(site):
                factor = factor * torch.tensor(
                    each.scale.at(frames, step=ask.step, steps=self.steps)
                )
        factor = factor[:, None, None]
        if self.mask is None:
            return factor
        return 1 + (factor - 1) * self.mask[ask.frames.cpu()]


@contextmanager
def motion_strength_of(settled: Settled, *, animated: AnimatedUNet) -> Generator[Around]:
    """Let motion modules act as strongly as a request says; yields the wrapper that sets it.

    Args:
        settled: the request.
        animated: the model.

    Raises:
        InputError: a block is named that the model does not have.
        FileError: a mask cannot be read.
    """
    request = settled.request
    if not request.motion_scale and not request.motion_effect:
        yield unwrapped
        return
    sites = tuple(animated.motion)
    keys = _read(request.motion_scale, request.motion_scale_mask, settled, sites)
    effect = _read(request.motion_effect, request.motion_effect_mask, settled, sites)
    strength = MotionStrength(animated)
    try:
        yield partial(_with_strength, strength=strength, sites=sites, keys=keys, effect=effect)
    finally:
        strength.remove()


def _read(texts: Sequence[str], mask: str, settled: Settled, sites: Sequence[str]) -> _Strengths:
    scales = tuple(parse_block_scale(text, option="motion scale") for text in texts)
    for each in scales:
        if not any(each.holds_at(site) for site in sites):
            raise InputError(
                f"The motion module has no block {each.block}; its blocks are "
                f"{', '.join(sorted({site.rpartition('_')[0] for site in sites}))}."
            )
    return _Strengths(scales, read_mask(mask, settled) if mask else None, settled.steps)


def _with_strength(
    predict_noise: PredictNoise,
    *,
    strength: MotionStrength,
    sites: Sequence[str],
    keys: _Strengths,
    effect: _Strengths,
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        strength.factors = {
            site: Factors(keys.at(site, ask), effect.at(site, ask)) for site in sites
        }
        return predict_noise(ask)

    return predict
