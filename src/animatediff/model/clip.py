"""The number of frames folded into the batch, which 2-D layers cannot know.

The image model sees every frame as one more image (Sec. 4.2), ``(b f) c h w`` with the frames of a
clip adjacent. Branches that mix frames read ``num_frames`` here; ``AnimatedUNet.forward`` writes
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Shaped
from torch import Tensor


@dataclass
class Clip:
    """The clip that is being denoised, shared by every branch of an animated U-Net.

    Attributes:
        num_frames: frames folded into the batch.
        view: the frames of the clip that attention sees now; ``None`` if it sees all.
    """

    num_frames: int = 1
    view: tuple[int, ...] | None = None

    def seen(self, rows: Shaped[Tensor, "bf ..."], *, clips: int) -> Shaped[Tensor, "bw ..."]:
        """Of rows for every frame of every clip, those that attention sees now.

        Args:
            rows: the frames of a clip adjacent.
            clips: how many there are.
        """
        if self.view is None:
            return rows
        index = torch.tensor(self.view, device=rows.device)
        return rearrange(rows, "(b f) ... -> b f ...", b=clips)[:, index].flatten(0, 1)
