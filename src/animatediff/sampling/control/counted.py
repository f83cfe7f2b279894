"""How much residuals count: by frame, layer, step, place, and clip with or without the prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.control.residuals import Plane, Residuals
from animatediff.sampling.ask import WITHOUT_PROMPT, Ask
from animatediff.sampling.control.layer_weights import LayerWeights
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.step_range import is_outside


@dataclass(frozen=True)
class Counted:
    """How much the residuals of one control network count.

    Attributes:
        scale: of all of them; it may change over the frames or over the steps.
        strengths: of each frame of the animation, 0 for none.
        weights: of each layer.
        steps: denoising steps of the animation.
        start, end: the share of the steps in which they count.
        only_along: whether they count for the clip with the prompt alone.
        mask: in [0, 1], of each frame; ``None`` is everywhere.
    """

    scale: Scale
    strengths: Float[Tensor, " f"]
    weights: LayerWeights
    steps: int
    start: float = 0.0
    end: float = 1.0
    only_along: bool = False
    mask: Float[Tensor, "f 1 h w"] | None = None

    def nowhere(self, ask: Ask) -> bool:
        """Whether nothing counts for an ask, so that the network need not be run."""
        outside = is_outside(ask.step, steps=self.steps, start=self.start, end=self.end)
        skipped = self.only_along and ask.rows == WITHOUT_PROMPT
        return outside or skipped or not bool(self._of_frames(ask).any())

    def of(
        self, residuals: Residuals, ask: Ask, *, further: Float[Tensor, " f"] | None = None
    ) -> Residuals:
        """Residuals for an ask, each multiplied by how much it counts.

        Args:
            residuals: of the frames of the ask.
            ask: the ask.
            further: a further strength of each of its frames.
        """
        frames = self._of_frames(ask)
        frames = frames if further is None else frames * further
        clips = torch.ones(len(ask.latents))
        if self.only_along:
            clips = torch.tensor(ask.prompted).float()
        rows = rearrange(torch.outer(clips, frames), "b f -> (b f) 1 1 1")
        weights = self.weights.of(len(residuals.skips) + 1) if residuals.skips else (1.0,)
        blocks = self.weights.of(len(residuals.blocks), blocks=True) if residuals.blocks else ()

        def counted(weight: float, plane: Plane) -> Plane:
            share = weight * rows.to(plane.device)
            if self.mask is not None:
                share = share * self._mask(ask, plane)
            return plane * share.to(plane.dtype)

        return Residuals(
            tuple(map(counted, weights, residuals.skips)),
            None if residuals.mid is None else counted(weights[-1], residuals.mid),
            tuple(map(counted, blocks, residuals.blocks)),
        )

    def _of_frames(self, ask: Ask) -> Float[Tensor, " f"]:
        scales = self.scale.at(ask.frames.tolist(), step=ask.step, steps=self.steps)
        return self.strengths[ask.frames.cpu()] * torch.tensor(scales)

    def _mask(self, ask: Ask, plane: Plane) -> Float[Tensor, "bf 1 h w"]:
        """The mask at the size of a plane, for every frame of every clip."""
        assert self.mask is not None
        small = F.adaptive_avg_pool2d(self.mask[ask.frames.cpu()], (plane.shape[2], plane.shape[3]))
        return small.repeat(len(ask.latents), 1, 1, 1).to(plane.device)
