"""The number of frames folded into the batch, which 2-D layers cannot know.

The image model sees every frame as one more image (Sec. 4.2), ``(b f) c h w`` with the frames of a
clip adjacent. Branches that mix frames read ``num_frames`` here; ``AnimatedUNet.forward`` writes
it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clip:
    """The clip that is being denoised, shared by every branch of an animated U-Net.

    Attributes:
        num_frames: frames folded into the batch.
        view: the frames of the clip that attention sees now; ``None`` if it sees all.
    """

    num_frames: int = 1
    view: tuple[int, ...] | None = None
