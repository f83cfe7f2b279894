"""What does a picture lose in the autoencoder?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8

from animatediff.data.shards import Sample, on_white
from animatediff.evaluation.intervals import Estimate, Share, mean_of
from animatediff.evaluation.reports import Row
from animatediff.world.protocol.subjects import Frames, Watch, nobody
from animatediff.world.scoring.scorer import Judgement, Scorer
from animatediff.world.scoring.stored_features import Still
from animatediff.world.scoring.training import Ceiling, is_held_out

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

Reconstruct = Callable[[Frames], Frames]
"""Pictures to what an autoencoder makes of them."""


def reconstructed_by(vae: AutoencoderKL) -> Reconstruct:
    """Return a function that encodes pictures, and decodes the mode of their latents."""
    from animatediff.model.latent_space import picture_of, posterior_of

    @torch.no_grad()
    def reconstruct(pictures: Frames) -> Frames:
        inputs = rearrange(torch.from_numpy(pictures), "n h w c -> n c h w") / 127.5 - 1
        latents = posterior_of(vae, inputs.to(vae.device, vae.dtype)).mode()
        pixels = (picture_of(vae, latents).float() + 1) * 127.5
        bytes_ = pixels.round().clamp(0, 255).to("cpu", torch.uint8)
        return rearrange(bytes_, "n c h w -> n h w c").numpy()

    return reconstruct


@dataclass(frozen=True)
class AutoencoderReport:
    """Quality of the autoencoder's reconstructions.

    Attributes:
        psnr: mean over held-out concepts in the base's styles of each picture's PSNR in dB, on
        white.
        psnr_pooled: PSNR in dB of their mean squared error; never above ``psnr``.
        psnr_by_style: the mean for each style, held-out styles included.
        scorer_before: the scorer on real pictures that it was not trained on.
        scorer_after: the scorer on the same pictures after the autoencoder.
    """

    psnr: Estimate
    psnr_pooled: float
    psnr_by_style: Mapping[str, Estimate]
    scorer_before: Ceiling | None
    scorer_after: Ceiling | None

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        rows = [
            Row(
                "PSNR on held-out concepts, dB",
                str(self.psnr),
                "at least 28",
                self.psnr.value >= 28,
            ),
            Row("PSNR of their mean squared error, dB", f"{self.psnr_pooled:.2f}"),
            *(Row(f"PSNR, {name} style, dB", str(e)) for name, e in self.psnr_by_style.items()),
        ]
        if self.scorer_before is not None and self.scorer_after is not None:
            for name, before, after in (
                ("concept among the first 5", self.scorer_before.top5, self.scorer_after.top5),
                ("style", self.scorer_before.style, self.scorer_after.style),
            ):
                rows.append(Row(f"{name}: real pictures new to the scorer", str(before)))
                rows.append(Row(f"{name}: the same, reconstructed", str(after)))
        return tuple(rows)


def mean_squared_error(
    picture: UInt8[np.ndarray, "*shape"], other: UInt8[np.ndarray, "*shape"]
) -> float:
    """Return the mean squared error of 8-bit pictures, with full scale as 1."""
    return float(np.mean((picture / 255.0 - other / 255.0) ** 2))


def psnr(error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of a mean squared error; at most 100."""
    return float(-10 * np.log10(max(error, 1e-10)))


def judge_autoencoder(
    reconstruct: Reconstruct,
    stills: Iterable[Sample],
    *,
    scorer: Scorer | None = None,
    batch: int = 16,
    watch: Watch = nobody,
) -> AutoencoderReport:
    """Measure PSNR on held-out concepts, and the scorer's recognition before and after.

    Args:
        reconstruct: the autoencoder, pictures of bytes to pictures of bytes.
        stills: all stills; those of held-out concepts, and the pairs that the scorer was not
        trained
            on, are taken from them.
        scorer: judges before and after; ``None`` measures PSNR only.
        batch: pictures at a time.
        watch: called with the progress.
    """
    chosen = [s for s in stills if s.meta["split"] != "train" or is_held_out(Still.of(s))]
    errors: dict[str, list[float]] = {}
    before: list[Judgement] = []
    after: list[Judgement] = []
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        pictures = np.stack([on_white(sample.image) for sample in part])
        redrawn = reconstruct(pictures)
        for sample, picture, other in zip(part, pictures, redrawn, strict=True):
            if sample.meta["split"] != "train":
                of_style = errors.setdefault(str(sample.meta["style"]), [])
                of_style.append(mean_squared_error(picture, other))
        if scorer is not None:
            before.append(scorer.judge(pictures))
            after.append(scorer.judge(redrawn))
        watch(min(start + batch, len(chosen)), len(chosen))
    base_styles = {str(s.meta["style"]) for s in chosen if not s.meta["held_out_style"]}
    of_base = [error for style in sorted(base_styles) for error in errors.get(style, [])]
    return AutoencoderReport(
        psnr=mean_of(psnr(error) for error in of_base),
        psnr_pooled=psnr(float(np.mean(of_base))) if of_base else float("nan"),
        psnr_by_style={s: mean_of(psnr(error) for error in errors[s]) for s in sorted(errors)},
        scorer_before=_ceiling(scorer, before, chosen) if scorer else None,
        scorer_after=_ceiling(scorer, after, chosen) if scorer else None,
    )


def _ceiling(scorer: Scorer, judged: Sequence[Judgement], samples: Sequence[Sample]) -> Ceiling:
    """Judge training concepts only; the scorer does not know others."""
    top1: list[bool] = []
    top5: list[bool] = []
    style: list[bool] = []
    first = 0
    for judgement in judged:
        for row, named in enumerate(judgement.styles):
            sample = samples[first + row]
            if sample.meta["split"] == "train":
                concept = scorer.index_of(str(sample.meta["hexcode"]))
                top1.append(bool(judgement.shows(concept, among=1)[row]))
                top5.append(bool(judgement.shows(concept)[row]))
                style.append(named == sample.meta["style"])
        first += len(judgement.styles)
    return Ceiling(Share.of(top1), Share.of(top5), Share.of(style))
