"""Text2Video-Zero (Khachatryan et al., arXiv 2303.13439): an image model animated without training.

An anchor frame is denoised down to noise level t0. The other frames are copies of it, shifted by a
constant flow, and noised again up to t1 > t0. All are then denoised together, with self-attention that
reads the anchor. Longer videos are made in chunks, each beside the same anchor, which is not shown.

Where the paper and the released code differ, this follows the code, whose numbers are compared: the
flow is in pixels of a 512 x 512 grid whatever the size of the picture, the anchor is dropped, and every
chunk draws the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import Cancelled, InputError
from animatediff.evaluation.baselines.ddim import ddim
from animatediff.evaluation.baselines.frame_attention import first_frame, reading_other_frames
from animatediff.model.clip import Clip

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

FLOW_SIZE = 512
"""The side of the picture, in pixels, in which the flow is given."""

Frames = Float[Tensor, "f c h w"]
Foreground = Callable[[Frames, Sequence[int]], Float[Tensor, "f h w"]]
"""Where the foreground is, 0 to 1, at the latents' size, from clean latents and their frames' numbers.

The first of the latents is the anchor, whose number is 0.
"""


@dataclass(frozen=True)
class ZeroOptions:
    """How a video is made of one image; the defaults are the authors'.

    Attributes:
        steps: DDIM steps.
        t0: the step, counted from the end, down to which the anchor is denoised before it is shifted.
        t1: the step, counted from the end, up to which the shifted frames are noised again.
        guidance: classifier-free guidance scale.
        flow: pixels of a 512 x 512 picture that each frame moves, along x and y.
        chunk: frames denoised together, the anchor among them.
        motion_field: whether frames are shifted at all.
        cross_frame: whether self-attention reads the anchor.
        background_share: with a foreground mask, how much of a frame's own background is kept.
    """

    steps: int = 50
    t0: int = 44
    t1: int = 47
    guidance: float = 7.5
    flow: tuple[float, float] = (12.0, 12.0)
    chunk: int = 8
    motion_field: bool = True
    cross_frame: bool = True
    background_share: float = 0.4

    @classmethod
    def of_steps(cls, steps: int) -> ZeroOptions:
        """Return the authors' options with another number of steps, and noise levels as near as can be.

        Raises:
            InputError: there are fewer than two steps.
        """
        if steps < 2:
            raise InputError(f"{steps} DDIM steps have no two noise levels; give 2 or more.")
        t0 = min(round(steps * 44 / 50), steps - 2)
        t1 = min(max(t0 + 1, round(steps * 47 / 50)), steps - 1)
        return cls(steps=steps, t0=t0, t1=t1)

    def validated(self) -> ZeroOptions:
        """The same options, if they can be used.

        Raises:
            InputError: t0 and t1 are not steps in this order, or a chunk has no room for a frame.
        """
        if not 0 <= self.t0 < self.t1 < self.steps:
            raise InputError(
                f"t0 = {self.t0} and t1 = {self.t1} are not two of {self.steps} steps in this order; "
                "the authors take 44 and 47 of 50."
            )
        if self.chunk < 2:
            raise InputError(
                f"A chunk of {self.chunk} has no frame beside the anchor; give 2 or more."
            )
        return self


def text2video_zero(
    unet: UNet2DConditionModel,
    *,
    states: Float[Tensor, "2 n d"],
    scheduler_config: Mapping[str, Any],
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    options: ZeroOptions | None = None,
    foreground: Foreground | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Float[Tensor, "1 c f h w"]:
    """The latents of a video of one prompt.

    Args:
        unet: an image model without motion modules.
        states: the text encoder's states of the negative prompt and of the prompt.
        scheduler_config: the noise that the model was trained with, in diffusers' words.
        num_frames: how many frames are shown.
        size: height and width of the latents.
        seed: of the anchor and of each chunk.
        options: the authors' if left out.
        foreground: smooths the background where it says there is no foreground (Sec. 3.5).
        should_stop: checked before every prediction.

    Raises:
        InputError: the options cannot be used.
        Cancelled: ``should_stop`` said so.
    """
    options = (options or ZeroOptions()).validated()
    scheduler = ddim(scheduler_config)
    scheduler.set_timesteps(options.steps)
    run = _Run(unet, states.to(unet.dtype), scheduler, options, foreground, should_stop or _never)
    shown: list[Frames] = []
    for frames in chunks(num_frames, size=options.chunk):
        # The generator starts anew in each chunk, so that all have the same anchor.
        generator = torch.Generator().manual_seed(seed)
        shown.append(run.chunk(frames, generator=generator, size=size))
    return rearrange(torch.cat(shown), "f c h w -> 1 c f h w")


def drawn_foreground(masks: Float[Tensor, "m h w"], *, flow: tuple[float, float]) -> Foreground:
    """Return a foreground that is given, 0 to 1, at the latents' size.

    Args:
        masks: one, which moves with the flow, or one for each shown frame. The anchor has the first.
        flow: pixels of a 512 x 512 picture that each frame moves.
    """

    def foreground(clean: Frames, frames: Sequence[int]) -> Float[Tensor, "f h w"]:
        if len(masks) > 1:
            return masks[list(frames)].to(clean)
        copies = masks.to(clean)[:, None].expand(len(frames), -1, -1, -1)
        return shifted(copies, frames, flow=flow)[:, 0]

    return foreground


def chunks(num_frames: int, *, size: int) -> Iterator[range]:
    """The frames shown by each chunk, which has the anchor besides."""
    for start in range(0, num_frames, size - 1):
        yield range(start, min(start + size - 1, num_frames))


def shifted(latents: Frames, frames: Sequence[int], *, flow: tuple[float, float]) -> Frames:
    """Each of ``latents`` moved by its frame's number times the flow (Eq. 6), nearest neighbour.

    As in the released code, the flow is added to pixel indices of a 512 x 512 grid and divided by 512,
    which is half a pixel short of the pixel's centre.
    """
    _, _, height, width = latents.shape
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    moved: list[Tensor] = []
    for latent, frame in zip(latents, frames, strict=True):
        column = 2 * (x + (flow[0] * frame - 0.5) / FLOW_SIZE) - 1
        row = 2 * (y + (flow[1] * frame - 0.5) / FLOW_SIZE) - 1
        grid = torch.stack(torch.meshgrid(column, row, indexing="xy"), dim=-1)[None].to(latents)
        moved.append(
            F.grid_sample(
                latent[None],
                grid,
                mode="nearest",
                padding_mode="reflection",
                align_corners=False,
            )
        )
    return torch.cat(moved)


def smoothed(
    latents: Frames,
    frames: Sequence[int],
    *,
    foreground: Float[Tensor, "f h w"],
    flow: tuple[float, float],
    share: float,
) -> Frames:
    """Latents whose backgrounds are mixed with the anchor's, moved along (Eq. 10).

    Args:
        latents: the anchor, then a row for each frame.
        frames: the frames' numbers.
        foreground: of the anchor and of each frame, 0 to 1; it is widened by two positions.
        flow: pixels of a 512 x 512 picture that each frame moves.
        share: how much of a frame's own background is kept.
    """
    own = F.max_pool2d(foreground[:, None], kernel_size=5, stride=1, padding=2)
    count = len(frames)
    anchor_mask = shifted(own[:1].expand(count, -1, -1, -1), frames, flow=flow)
    anchor = shifted(latents[:1].expand(count, -1, -1, -1), frames, flow=flow)
    background = (1 - own[1:]) * (1 - anchor_mask)
    mixed = share * latents[1:] + (1 - share) * anchor
    return torch.cat([latents[:1], torch.lerp(latents[1:], mixed, background)])


@dataclass(frozen=True)
class _Run:
    """What stays the same over the chunks of a video."""

    unet: UNet2DConditionModel
    states: Float[Tensor, "2 n d"]
    scheduler: DDIMScheduler
    options: ZeroOptions
    foreground: Foreground | None
    should_stop: Callable[[], bool]

    def chunk(
        self, frames: Sequence[int], *, generator: torch.Generator, size: tuple[int, int]
    ) -> Frames:
        """The clean latents of the frames of one chunk."""
        options, times = self.options, self.scheduler.timesteps
        channels = int(self.unet.config["in_channels"])
        noise = torch.randn(1, channels, *size, generator=generator).to(self.unet.device)
        first, last = len(times) - options.t1 - 1, len(times) - options.t0 - 1
        anchor_t1 = self._denoised(noise, times[:first])
        anchor_t0 = self._denoised(anchor_t1, times[first:last])
        copies = repeat(anchor_t0, "1 c h w -> f c h w", f=len(frames))
        if options.motion_field:
            copies = shifted(copies, frames, flow=options.flow)
        copies = self._noised(copies, low=int(times[last]), high=int(times[first]), by=generator)
        together = torch.cat([anchor_t1, copies])
        clean = self._together(together, times[first:])
        if self.foreground is not None:
            smooth = smoothed(
                together,
                frames,
                foreground=self.foreground(clean, (0, *frames)),
                flow=options.flow,
                share=options.background_share,
            )
            clean = self._together(smooth, times[first:])
        return clean[1:]

    def _together(self, latents: Frames, times: Tensor) -> Frames:
        if not self.options.cross_frame:
            return self._denoised(latents, times)
        with reading_other_frames(self.unet, first_frame, clip=Clip(len(latents))):
            return self._denoised(latents, times)

    @torch.inference_mode()
    def _denoised(self, latents: Frames, times: Tensor) -> Frames:
        """DDIM over some of the timesteps, with guidance."""
        for time in times:
            if self.should_stop():
                raise Cancelled("Text2Video-Zero was cancelled.")
            both = torch.cat([latents] * 2).to(self.unet.dtype)
            text = self.states.repeat_interleave(len(latents), dim=0)
            without, along = self.unet(both, time, text, return_dict=False)[0].float().chunk(2)
            noise = without + self.options.guidance * (along - without)
            latents = self.scheduler.step(noise, int(time), latents, return_dict=False)[0]
        return latents

    def _noised(self, latents: Frames, *, low: int, high: int, by: torch.Generator) -> Frames:
        """The forward process of DDPM from one timestep to a noisier one (Eq. 8)."""
        kept = self.scheduler.alphas[low:high].prod()
        noise = torch.randn(latents.shape, generator=by).to(latents)
        return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def _never() -> bool:
    return False
