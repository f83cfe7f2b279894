"""Train a denoiser on clips that are read on demand: your own, or with synthetic camera moves.

The objective is that of ``denoising`` (Eq. 2 for single frames, Eq. 5 for clips). Pictures are
encoded during training, and only once if the same windows come again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from animatediff.data.footage import EncodedFootage, Footage
from animatediff.errors import InputError
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.model.shared_noise import with_shared
from animatediff.runtime import seeded
from animatediff.training.lessons.denoiser import Denoiser
from animatediff.training.lessons.objective import (
    Prediction,
    clean,
    denoising_loss,
    min_snr_weight,
    noised,
    offset_noise,
    random_timesteps,
    velocity,
    without_appearance,
)

BUCKETS = 4
"""Number of timestep ranges whose losses are logged separately; those at low noise are small."""

Latents = Float[Tensor, "batch c f h w"]
Embed = Callable[[list[str]], Tensor]


class TrainingData(Protocol):
    """Clips with captions; all randomness of clip i comes from the generator."""

    def __len__(self) -> int: ...

    def footage(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Footage | EncodedFootage:
        """Return ``num_frames`` consecutive frames of a clip, and its caption."""
        ...

    def fingerprint(self) -> str:
        """Return a value that changes with the training data."""
        ...


@runtime_checkable
class Filmable(TrainingData, Protocol):
    """Clips as pixels, over which a camera can be moved."""

    def filmed(self, pattern: str) -> TrainingData:
        """The same clips with a camera move."""
        ...

    def with_starts(self, *, fixed: bool) -> TrainingData:
        """The same clips, each window from the beginning of its clip or from anywhere."""
        ...


def film(data: TrainingData, pattern: str, *, option: str) -> TrainingData:
    """The same clips with a camera move.

    Raises:
        InputError: they are stored encoded; the sentence names ``option``, which asks for the move.
    """
    if not isinstance(data, Filmable):
        raise InputError(
            f"{option} moves a camera over the pixels of clips, and these clips are stored encoded; "
            "pass the clips that they were built from."
        )
    return data.filmed(pattern)


class Encode(Protocol):
    """Encodes pictures in [-1, 1] as scaled latents."""

    def __call__(
        self, pictures: Float[Tensor, "b 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "b c h w"]:
        """Return the latents, sampled if the encoder gives a distribution."""
        ...


@dataclass(frozen=True)
class ClipBatch:
    """A batch that a worker read.

    Attributes:
        frames: the pixels of each clip; ``None`` for clips that were encoded before.
        captions: one per clip.
        draws: the clip's number and the draw of its window.
        encoded: clips that were encoded before; empty if there are pixels.
        scale: the scale of the low-rank branches for this batch; ``None`` leaves it unchanged.
    """

    frames: UInt8[Tensor, "batch f height width 3"] | None
    captions: tuple[str, ...]
    draws: tuple[tuple[int, int], ...]
    encoded: tuple[EncodedFootage, ...] = ()
    scale: float | None = None


@dataclass(frozen=True)
class ReadClips:
    """Reads a batch of clips; small, so that it can be sent to a worker.

    Attributes:
        data: the clips.
        num_frames: of a window.
        variations: number of different windows per clip; 0 for unlimited.
    """

    data: TrainingData
    num_frames: int
    variations: int = 0

    def __call__(self, indices: Int[Tensor, " batch"], generator: torch.Generator) -> ClipBatch:
        """Read the clips with these numbers."""
        seeds = torch.randint(2**62, (len(indices),), generator=generator).tolist()
        if self.variations:
            seeds = [seed % self.variations for seed in seeds]
        draws = tuple(zip(indices.tolist(), seeds, strict=True))
        clips = [
            self.data.footage(i, num_frames=self.num_frames, generator=seeded("window", i, seed))
            for i, seed in draws
        ]
        captions = tuple(clip.caption for clip in clips)
        encoded = tuple(clip for clip in clips if isinstance(clip, EncodedFootage))
        if encoded:
            return ClipBatch(None, captions, draws, encoded)
        pixels = [clip.frames for clip in clips if isinstance(clip, Footage)]
        return ClipBatch(torch.from_numpy(np.stack(pixels)), captions, draws)


class ReadBatch(Protocol):
    """Reads a batch of clips by their numbers."""

    @property
    def data(self) -> TrainingData:
        """The clips."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames in a window."""
        ...

    @property
    def variations(self) -> int:
        """Different windows of each clip; 0 draws a new one every time."""
        ...

    def __call__(self, indices: Int[Tensor, " batch"], generator: torch.Generator, /) -> ClipBatch:
        """The clips of these numbers."""
        ...


@dataclass
class ClipLesson:
    """Train to predict the noise that was added to clips, given their captions.

    Attributes:
        learns: the only module whose weights change.
        predict_noise: the complete denoiser, with everything attached.
        embed: encodes captions for the denoiser.
        encode: encodes pictures as latents.
        fetch: reads the clips.
        alphas_bar: the share of signal at each timestep.
        null_text: the share of dropped captions (arXiv 2207.12598).
        prediction: what the denoiser predicts.
        min_snr: gamma of min-SNR weighting; ``None`` is the paper's plain mean square.
        noise_offset: size of a noise shift common to a clip; 0 is the paper's.
        shared_noise: share of the noise's variance that frames have in common; 0 is the paper's.
        min_timestep: the first timestep of the training; 0 (all timesteps) is the paper's.
        debias: weight of the debiased loss (arXiv 2310.08465), which learns the motion of a single
            clip without its appearance; 0 is the paper's.
    """

    learns: nn.Module
    predict_noise: Denoiser
    embed: Embed
    encode: Encode
    fetch: ReadBatch
    alphas_bar: Float[Tensor, " timesteps"]
    null_text: float = 0.1
    prediction: Prediction = "epsilon"
    min_snr: float | None = None
    noise_offset: float = 0.0
    shared_noise: float = 0.0
    min_timestep: int = 0
    debias: float = 0.0
    _encoded: dict[tuple[int, int, float | None], Tensor] = field(
        default_factory=lambda: cast(dict[tuple[int, int, float | None], Tensor], {}), init=False
    )

    def __post_init__(self) -> None:
        self.size = len(self.fetch.data)

    def losses(self, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss of these clips, each at its own timestep."""
        device = next(self.learns.parameters()).device
        latents = self.latents(batch, device)
        noise = torch.randn(latents.shape, generator=generator)
        if self.shared_noise:
            common = torch.randn(latents[:, :, :1].shape, generator=generator)
            noise = with_shared(noise, common, share=self.shared_noise)
        if self.noise_offset:
            noise = offset_noise(noise, strength=self.noise_offset, generator=generator)
        timesteps = random_timesteps(
            len(latents),
            total=len(self.alphas_bar),
            generator=generator,
            first=self.min_timestep,
        )
        text = self._text(batch, generator)
        if batch.scale is not None and isinstance(self.learns, LowRankSet):
            self.learns.scale = batch.scale
        alpha_bar, noise = self.alphas_bar[timesteps].to(device), noise.to(device)
        noisy = noised(latents, noise, alpha_bar)
        predicted = self.predict_noise(noisy, timesteps.to(device), text)
        target = velocity(latents, noise, alpha_bar) if self.is_velocity else noise
        weight = None
        if self.min_snr is not None:
            weight = min_snr_weight(alpha_bar, gamma=self.min_snr, prediction=self.prediction)
        loss = denoising_loss(predicted, target, weight)
        terms = {"plain": denoising_loss(predicted, target)}
        if self.debias:
            anchor = int(torch.randint(latents.shape[2], (), generator=generator))
            motion = denoising_loss(
                without_appearance(predicted.float(), anchor),
                without_appearance(target, anchor),
                weight,
            )
            loss, terms["motion"] = loss + self.debias * motion, motion
        seen = self._seen(noisy, predicted, latents, target, alpha_bar, timesteps)
        return {"loss": loss, **terms, **seen}

    @property
    def is_velocity(self) -> bool:
        """Whether the denoiser predicts velocity."""
        return self.prediction == "v_prediction"

    @torch.no_grad()
    def _seen(
        self,
        noisy: Latents,
        predicted: Latents,
        latents: Latents,
        target: Latents,
        alpha_bar: Float[Tensor, " batch"],
        timesteps: Int[Tensor, " batch"],
    ) -> dict[str, Tensor]:
        """Return diagnostics: the loss at low and high noise, and how much motion is predicted."""
        errors = (predicted.float() - target).square().flatten(1).mean(1).cpu()
        bucket = timesteps * BUCKETS // len(self.alphas_bar)
        terms = {f"loss_t{k}": errors[bucket == k].mean() for k in range(BUCKETS)}
        if latents.shape[2] > 1:
            # 1 is as much motion as in the clips; at very low noise, or at pure noise, it means
            # nothing.
            middle = (alpha_bar > 0.2) & (alpha_bar < 0.9)
            guess = clean(noisy, predicted.float(), alpha_bar, self.prediction)
            moved, real = (x.diff(dim=2).abs().flatten(1).mean(1)[middle] for x in (guess, latents))
            terms["motion_energy"] = moved.mean() / real.mean().clamp(min=1e-6)
        return terms

    @torch.no_grad()
    def latents(self, batch: ClipBatch, device: torch.device) -> Latents:
        """Return the latents of every clip, encoding those that are not stored."""
        if batch.frames is None:
            drawn = [
                clip.latents(seeded("posterior", *draw)).to(device)
                for draw, clip in zip(batch.draws, batch.encoded, strict=True)
            ]
            return rearrange(drawn, "b f c h w -> b c f h w")
        clips: list[Tensor] = []
        for draw, frames in zip(batch.draws, batch.frames, strict=True):
            latents = self._encoded.get((*draw, batch.scale))
            if latents is None:
                pictures = rearrange(frames, "f h w c -> f c h w").to(device).float() / 127.5 - 1
                latents = self.encode(pictures, seeded("posterior", *draw)).float()
                if self.fetch.variations:
                    self._encoded[*draw, batch.scale] = latents
            clips.append(latents)
        return rearrange(clips, "b f c h w -> b c f h w")

    def _text(
        self, batch: ClipBatch, generator: torch.Generator
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the states of every caption, encoding those that are not stored."""
        captions = self._captions(batch.captions, generator)
        states: list[Tensor | None] = [clip.text for clip in batch.encoded] or [None] * len(
            captions
        )
        for place, (caption, own) in enumerate(zip(captions, batch.captions, strict=True)):
            if caption != own:
                states[place] = None  # dropped
        missing = [place for place, known in enumerate(states) if known is None]
        if len(missing) == len(states):
            return self.embed(captions)
        device = next(self.learns.parameters()).device
        found = iter(self.embed([captions[place] for place in missing]) if missing else ())
        return torch.stack(
            [(next(found) if known is None else known.to(device)).float() for known in states]
        )

    def _captions(self, captions: tuple[str, ...], generator: torch.Generator) -> list[str]:
        draw = random.Random(int(torch.randint(2**62, (), generator=generator)))
        return ["" if draw.random() < self.null_text else caption for caption in captions]
