"""SparseCtrl: a ControlNet with motion modules, conditioned on pictures at a few frames only.

Guo et al., arXiv 2311.16933. The encoder never sees the noisy latents: its input is zero, so that all
it knows comes from the hints, a mask that marks the hinted frames, the text and the timestep. Its
motion modules carry a hint to the frames that have none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.animated_unet import motion_sites
from animatediff.model.clip import Clip
from animatediff.model.control.controlnet import take_stem
from animatediff.model.control.network import Embedded, Hints, Question, for_every_clip
from animatediff.model.control.residuals import Residuals
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.motion_module import MotionModule, NormScope
from animatediff.runtime import dtype_of

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel

SparseVersion = Literal["rgb", "scribble"]
"""``rgb`` reads the latents of pictures, ``scribble`` reads pixels of sketches."""


class SparseControl(nn.Module):
    """SparseCtrl as it was trained: motion modules with one attention, normalised per frame.

    Args:
        net: a ControlNet of diffusers; its stem is replaced by the one that ``version`` has.
        version: what its hints are.
        heads: attention heads of the motion modules.
        norm_scope: statistics of the motion modules' first norm; ``video`` is diffusers' variant.
        sites: where motion modules are, by name; ``None`` for after every layer, as published.
    """

    def __init__(
        self,
        net: ControlNetModel,
        *,
        version: SparseVersion,
        heads: int = 8,
        norm_scope: NormScope = "frame",
        sites: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.version: SparseVersion = version
        stem = take_stem(net)
        if version == "rgb":
            width = cast(int, net.config["block_out_channels"][0])
            latents = cast(int, net.config["in_channels"])
            stem = nn.Conv2d(latents + 1, width, kernel_size=3, padding=1)
        self.stem = stem
        self.net = net
        self.clip = Clip()
        places = [s for s in motion_sites(net, mid=False) if sites is None or s.name in sites]
        self.motion = nn.ModuleDict(
            {
                site.name: MotionModule(
                    site.channels,
                    heads=heads,
                    norm_groups=cast(int, net.config["norm_num_groups"]),
                    norm_scope=norm_scope,
                    attention_blocks=1,
                    clip=self.clip,
                )
                for site in places
            }
        )
        self.grafts = Grafts(
            {site.name: Graft(self.motion[site.name]).attach(site.layer) for site in places}
        )

    def embed(self, hints: Hints, *, mask: float = 1.0) -> Embedded:
        """The features of hints, and last those of a frame that has none.

        Args:
            hints: latents for ``rgb``, pictures in [0, 1] for ``scribble``.
            mask: the value that marks a hinted frame; 1 as trained.
        """
        hints = torch.cat([hints, torch.zeros_like(hints[:1])])
        marks = torch.full_like(hints[:, :1], mask)
        marks[-1] = 0
        return self.embed_marked(hints, marks)

    def embed_marked(self, hints: Hints, marks: Float[Tensor, "n 1 height width"]) -> Embedded:
        """The features of hints that are zero where their mark is."""
        return (self.stem(torch.cat([hints, marks], dim=1).to(dtype_of(self.net))),)

    def forward(self, question: Question, embedded: Embedded) -> Residuals:
        """Residuals for the skip connections and the middle block."""
        self.clip.num_frames = question.num_frames
        skips, mid = self.net(
            torch.zeros_like(question.latents),
            question.timestep,
            question.text,
            for_every_clip(embedded[0], question=question),
            return_dict=False,
        )
        return Residuals(tuple(cast("list[Tensor]", skips)), cast(Tensor, mid))
