"""Choose where the windows of a long clip are: inside temporal attention, or around the model.

Inside attention, frames of all windows share every map, so a window may overlap the next by more, and
motion is steadier; but memory grows with the clip. So windows are there only as long as what is kept
for all frames is little beside what one window needs. The choice depends on the model, the precision,
the frames and their size, never on how much memory is free: the same request gives the same animation
on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.runtime import dtype_of
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.windows.options import WindowPlace

GROWTH = 0.3
"""What all frames keep, at most, as a share of what one window needs."""
PROCESS = 400 << 20
"""Bytes of a process with torch and diffusers."""
ALIVE = 30
"""While a window is predicted, this many maps of the first width are alive (counted for SD 1.5)."""
HALVES = 2
"""A window is predicted with and without the prompt at once; all frames, one after the other."""


@dataclass(frozen=True)
class Room:
    """What a model holds in memory.

    Attributes:
        weights: bytes of the U-Net and the motion modules.
        bytes: of a number.
        width: channels of the first maps.
        kept: channels for each latent pixel of a frame that wait for the decoder, or are computed in
            its last block.
        skips: those of the skip connections alone, which the residuals of control networks match.
    """

    weights: int
    bytes: int
    width: int
    kept: float
    skips: float

    def of(self, frames: int, latents: float, *, controlled: bool) -> float:
        """Bytes that all frames keep.

        Args:
            frames: of the clip.
            latents: latent pixels of a frame.
            controlled: whether control networks add residuals.
        """
        kept = self.kept + (self.skips if controlled else 0)
        return frames * latents * kept * self.bytes

    def of_window(self, frames: int, latents: float) -> float:
        """Bytes that one window needs, with the weights and the process.

        Args:
            frames: of the window.
            latents: latent pixels of a frame.
        """
        alive = ALIVE * self.width * HALVES * frames * latents * self.bytes
        return PROCESS + self.weights + alive


def room_of(animated: AnimatedUNet) -> Room | None:
    """What a model holds; ``None`` if its layers cannot be computed for some frames at a time.

    Norms over all frames have to see them together, and a convolution has no windows.

    Args:
        animated: the model.
    """
    scopes = {animated.resnet_norm_scope, animated.norm_scope}
    if animated.branch != "transformer" or scopes != {"frame"}:
        return None
    unet = animated.unet
    widths = [int(width) for width in unet.config["block_out_channels"]]
    skips = float(widths[0])
    for level, (width, block) in enumerate(zip(widths, unet.down_blocks, strict=True)):
        blocks = len(cast("list[object]", block.resnets))
        # The result of the downsampler is a quarter as large.
        last = level == len(widths) - 1
        skips += width * (blocks + (0 if last else 0.25)) / 4**level
    resnets = len(cast("list[object]", unet.up_blocks[-1].resnets))
    below = widths[min(1, len(widths) - 1)]
    # Its skip maps and its input, which callers hold; both joined, and a result.
    decoder = resnets * widths[0] + below + (below + widths[0]) + widths[0]
    size = dtype_of(unet).itemsize
    return Room(
        weights=sum(each.numel() for each in animated.parameters()) * size,
        bytes=size,
        width=widths[0],
        kept=max(skips + widths[0], float(decoder)),
        skips=skips,
    )


def chosen_place(
    request: AnimationRequest, *, room: Room | None, frames: int, window: int, unit: int
) -> WindowPlace:
    """Where the windows of a clip that is longer than one are, unless its request says so.

    A clip that begins from a video or a picture keeps windows around the model, and so does one with
    something that has to see the frames of a window by themselves, or all frames at once.

    Args:
        request: the request; its size is known.
        room: what the model holds; ``None`` if all its frames would be computed together.
        frames: of the clip.
        window: frames of a window.
        unit: pixels per latent along a side.
    """
    if request.windows_in is not None:
        return request.windows_in
    if room is None or frames <= window or needs_all_frames(request):
        return "model"
    assert request.width is not None
    assert request.height is not None
    pixels = request.width * request.height * request.hires**2
    latents = pixels / unit**2
    kept = room.of(frames, latents, controlled=bool(request.controls))
    return "attention" if kept <= GROWTH * room.of_window(window, latents) else "model"


def scales_by_frame(request: AnimationRequest) -> bool:
    """Whether a MotionLoRA's scale changes over the frames, which its layers must see in order."""
    scales = (parse_lora(name)[1] for name in request.motion_loras)
    return any(scale.over == "frames" for scale in scales)


def needs_all_frames(request: AnimationRequest) -> bool:
    """Whether the request begins from frames, or attaches what is not computed a few at a time."""
    dense = len(request.control_inputs) == len(request.controls)
    return bool(
        scales_by_frame(request)
        or request.init
        or request.image
        or request.sparse
        or not dense
        or request.ip_images
        or request.camera_path
        or request.object_paths
        or request.free_u != "off"
        or request.motion_scale
        or request.motion_effect
        or request.motion_scale_mask
        or request.motion_effect_mask
    )
