"""Train a control network: predict the noise of pictures or clips, given hints besides the caption.

The objective stays that of ``ClipLesson``. The image model is frozen, and the network adds residuals to
its features (ControlNet, arXiv 2302.05543, Eq. 5). A SparseCtrl network (arXiv 2311.16933) has a few
frames of the clip itself as its hints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from animatediff.data.footage import EncodedFootage, Footage
from animatediff.model.control.controlnet import Hinted
from animatediff.model.control.network import ControlNetwork, Embedded, Question
from animatediff.model.control.residuals import Residuals
from animatediff.model.control.sparse_control import SparseControl
from animatediff.model.folded import text_per_frame, timestep_per_frame
from animatediff.runtime import seeded
from animatediff.training.lessons.clips import ClipBatch, ClipLesson, ReadBatch, TrainingData
from animatediff.video.preprocess import PreprocessName, preprocessed

Pictures = UInt8[Tensor, "batch f height width 3"]

FIRST_ONLY = 0.5
"""Share of the clips that show their first frame alone, as a picture that is to move does."""
FIRST_ONLY_FOR_MOTION = 0.8
"""The same where motion modules learn under a network that has learned already."""
UNSHOWN = 0.2
"""Share of the batches that show no frame, so that motion modules still work without the network."""


class Denoise(Protocol):
    """A denoiser that takes what control networks add."""

    def __call__(
        self,
        latents: Float[Tensor, "batch c f h w"],
        timesteps: Int[Tensor, " batch"],
        text: Tensor,
        /,
        *,
        residuals: Residuals,
    ) -> Float[Tensor, "batch c f h w"]:
        """The prediction, with ``residuals`` added inside the image model."""
        ...


def denoise_pictures(unet: UNet2DConditionModel) -> Denoise:
    """The image model on clips of one frame."""

    def predict(
        latents: Tensor, timesteps: Tensor, text: Tensor, /, *, residuals: Residuals
    ) -> Tensor:
        pictures = latents.squeeze(2).contiguous(memory_format=torch.channels_last)
        found = unet(
            pictures,
            timesteps,
            text,
            down_block_additional_residuals=residuals.skips,
            mid_block_additional_residual=residuals.mid,
            return_dict=False,
        )
        return found[0].unsqueeze(2)

    return predict


class Steered:
    """A denoiser that a control network steers.

    Args:
        denoise: the image model, with motion modules or without.
        network: the control network.
    """

    def __init__(self, denoise: Denoise, network: ControlNetwork) -> None:
        self.denoise = denoise
        self.network = network
        self.embedded: Embedded = ()
        """What the network made of the hints of the batch, a row for each frame of each clip; without
        any, it adds nothing."""

    def __call__(
        self,
        latents: Float[Tensor, "batch c f h w"],
        timesteps: Int[Tensor, " batch"],
        text: Tensor,
    ) -> Float[Tensor, "batch c f h w"]:
        """The prediction, with the network's residuals added inside the image model."""
        if not self.embedded:
            return self.denoise(latents, timesteps, text, residuals=Residuals())
        clips, _, frames, _, _ = latents.shape
        question = Question(
            rearrange(latents, "b c f h w -> (b f) c h w").contiguous(),
            timestep_per_frame(timesteps, clips=clips, frames=frames),
            text_per_frame(text, clips=clips, frames=frames),
            {},
            frames,
        )
        residuals = self.network(question, self.embedded)
        return self.denoise(latents, timesteps, text, residuals=residuals)


DrawHints = Callable[[ClipBatch], Pictures]
"""The hints of a batch, one for each frame."""


@dataclass(frozen=True)
class HintsOfFrames:
    """Draws hints from the training frames.

    Attributes:
        name: what is drawn.
    """

    name: PreprocessName

    def __call__(self, batch: ClipBatch) -> Pictures:
        """The hints of a batch of pixels."""
        assert batch.frames is not None, "clips that are stored encoded are refused before"
        drawn = [preprocessed(frames.numpy(), name=self.name) for frames in batch.frames]
        return torch.from_numpy(np.stack(drawn))


@dataclass(frozen=True)
class PairedHints:
    """Reads the hints that belong to the training frames.

    Attributes:
        data: pictures of hints; the draw of a clip's window gives the window of its hints.
        num_frames: of a window.
        name: what is drawn from them; ``none`` to take them as they are.
    """

    data: TrainingData
    num_frames: int
    name: PreprocessName = "none"

    def __call__(self, batch: ClipBatch) -> Pictures:
        """The hints of a batch."""
        hints: list[np.ndarray] = []
        for index, seed in batch.draws:
            shown = self.data.footage(
                index, num_frames=self.num_frames, generator=seeded("window", index, seed)
            )
            assert isinstance(shown, Footage)
            hints.append(preprocessed(shown.frames, name=self.name))
        return torch.from_numpy(np.stack(hints))


@dataclass(frozen=True)
class HintedBatch:
    """Clips, and a hint for each of their frames."""

    clips: ClipBatch
    hints: Pictures


@dataclass(frozen=True)
class ReadHinted:
    """Reads a batch of clips with their hints."""

    read: ReadBatch
    draw: DrawHints

    def __call__(self, indices: Int[Tensor, " batch"], generator: torch.Generator) -> HintedBatch:
        """The clips with these numbers."""
        clips = self.read(indices, generator)
        return HintedBatch(clips, self.draw(clips))


@dataclass
class HintedLesson:
    """Train a ControlNet on pictures or clips with a hint for each frame.

    Attributes:
        denoising: the lesson of the image model, whose denoiser is ``steered``.
        steered: the denoiser and the network.
        fetch: reads clips with hints.
    """

    denoising: ClipLesson
    steered: Steered
    fetch: ReadHinted

    def __post_init__(self) -> None:
        self.learns: nn.Module = self.denoising.learns
        self.size = self.denoising.size

    def losses(self, batch: HintedBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """The denoising loss, with these hints."""
        network = self.steered.network
        assert isinstance(network, Hinted)
        device = next(self.learns.parameters()).device
        self.steered.embedded = network.embed(_rows(batch.hints).to(device))
        return self.denoising.losses(batch.clips, generator)

    def show(self, number: int, *, rows: int) -> Pictures | None:
        """Show the network the hints of one training clip, for a validation clip.

        Args:
            number: of the clip; counted from the first again after the last.
            rows: predictions made together, which all get these hints.

        Returns:
            The hints.
        """
        network = self.steered.network
        assert isinstance(network, Hinted)
        device = next(self.learns.parameters()).device
        hints = self.fetch(torch.tensor([number % self.size]), seeded("validation", number)).hints
        self.steered.embedded = network.embed(_rows(hints.expand(rows, -1, -1, -1, -1)).to(device))
        return hints


@dataclass
class SparseLesson:
    """Train on clips with a few frames of each as hints: a SparseCtrl network, or motion under one.

    Attributes:
        denoising: the lesson of the animated image model, whose denoiser is ``steered``.
        steered: the denoiser and the network.
        first_only: share of the clips that show their first frame alone.
        unshown: share of the batches that show no frame.
    """

    denoising: ClipLesson
    steered: Steered
    first_only: float = FIRST_ONLY
    unshown: float = 0.0

    def __post_init__(self) -> None:
        self.learns: nn.Module = self.denoising.learns
        self.size = self.denoising.size
        self.fetch: ReadBatch = self.denoising.fetch

    def losses(self, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """The denoising loss, with the latents of some frames as hints."""
        device = next(self.learns.parameters()).device
        latents = self.denoising.latents(batch, device)
        if self.unshown and float(torch.rand((), generator=generator)) < self.unshown:
            self.steered.embedded = ()
        else:
            clips, frames = len(latents), latents.shape[2]
            marks = drawn_marks(clips, frames, generator, first_only=self.first_only)
            self._show(latents, marks)
        return self.denoising.losses(encoded_once(batch, latents), generator)

    def show(self, number: int, *, rows: int) -> Pictures | None:
        """Show the network the first frame of one training clip, for a validation clip.

        Args:
            number: of the clip; counted from the first again after the last.
            rows: predictions made together, which all get this hint.

        Returns:
            Nothing: the validation clip begins with the hint.
        """
        generator = seeded("validation", number)
        batch = self.fetch(torch.tensor([number % self.size]), generator)
        latents = self.denoising.latents(batch, next(self.learns.parameters()).device)
        marks = torch.zeros(rows, latents.shape[2])
        marks[:, 0] = 1
        self._show(latents.expand(rows, -1, -1, -1, -1), marks)
        return None

    def _show(
        self, latents: Float[Tensor, "batch c f h w"], shown: Float[Tensor, "batch f"]
    ) -> None:
        """Show the network the latents of the frames that are marked with 1."""
        network = self.steered.network
        assert isinstance(network, SparseControl)
        height, width = latents.shape[-2:]
        marks = rearrange(shown.to(latents.device), "b f -> (b f) 1 1 1")
        marks = marks.expand(-1, 1, height, width)
        hints = rearrange(latents, "b c f h w -> (b f) c h w") * marks
        self.steered.embedded = network.embed_marked(hints, marks)


def _rows(hints: Pictures) -> Float[Tensor, "rows 3 height width"]:
    """Hints as networks read them, a row for each frame of each clip, from 0 to 1."""
    return rearrange(hints, "b f h w c -> (b f) c h w").float() / 255


def drawn_marks(
    clips: int, frames: int, generator: torch.Generator, *, first_only: float = FIRST_ONLY
) -> Float[Tensor, "clips f"]:
    """Which frames of each clip are shown: the first, or from one to half of them at random."""
    marks = torch.zeros(clips, frames)
    for row in marks:
        if float(torch.rand((), generator=generator)) < first_only:
            row[0] = 1
        else:
            count = 1 + int(torch.randint(max(1, frames // 2), (), generator=generator))
            row[torch.randperm(frames, generator=generator)[:count]] = 1
    return marks


def encoded_once(batch: ClipBatch, latents: Float[Tensor, "batch c f h w"]) -> ClipBatch:
    """The same batch with its latents, so that it is not encoded again."""
    texts = [clip.text for clip in batch.encoded] or [None] * len(batch.captions)
    rows = zip(rearrange(latents, "b c f h w -> b f c h w"), batch.captions, texts, strict=True)
    encoded = tuple(EncodedFootage(mean, None, caption, text) for mean, caption, text in rows)
    return replace(batch, frames=None, encoded=encoded)
