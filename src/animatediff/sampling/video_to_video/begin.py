"""Read and encode the video that a request begins from, and prepare its DDIM inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.sampling.ask import Around, Latents, PredictNoise
from animatediff.sampling.predicting.model_noise import model_noise
from animatediff.sampling.settled import Settled
from animatediff.sampling.text.conditions import read_texts
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.video_to_video.options import GIVEN_FRAMES, FramesInMemory
from animatediff.sampling.video_to_video.source import Source
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.textual_inversion import Word

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


@dataclass(frozen=True, eq=False)
class Beginning:
    """What an animation begins from; empty for noise alone.

    Attributes:
        latents: of the video.
        unguided: predicts what the video shows, for DDIM inversion.
    """

    latents: Latents | None = None
    unguided: PredictNoise | None = None


def read_source(request: AnimationRequest, frames: FramesInMemory | None) -> Source | None:
    """What a request begins from, if anything.

    Args:
        request: the request.
        frames: those in memory that it stands for.

    Raises:
        FileError: its file cannot be read.
        InputError: frames in memory are needed, or they are not frames.
    """
    if frames is not None:
        return Source.of(frames)
    if request.init == GIVEN_FRAMES:
        raise InputError(
            "The request began from frames that a Python program gave; give them again as init."
        )
    return Source.read(request.init) if request.init else None


def begin_from(
    source: Source | None,
    settled: Settled,
    *,
    base: BaseModel,
    words: Sequence[Word],
    animated: AnimatedUNet,
    arounds: Sequence[Around],
) -> Beginning:
    """Encode what a request begins from.

    Args:
        source: the frames, if any.
        settled: the request.
        base: the image model.
        words: learned words that the prompt may name.
        animated: its U-Net with motion modules.
        arounds: what is wrapped around the prediction of inversion, the innermost first.

    Raises:
        InputError: the video has fewer frames than the animation.
    """
    if source is None:
        return Beginning()
    request = settled.request
    frames = source.laid_out(
        num_frames=settled.num_frames,
        fps=request.rate,
        width=settled.width,
        height=settled.height,
        fit=request.init_fit,
    )
    latents = encoded(frames, vae=base.vae, device=base.device)
    if not request.invert or settled.first == settled.steps:
        return Beginning(latents)
    shown = replace(request, prompt=request.init_prompt, prompts={})
    texts = read_texts(replace(settled, request=shown, guidance=1.0), base=base, words=words)
    predict_noise = model_noise(animated, texts=texts)
    for around in arounds:
        predict_noise = around(predict_noise)
    return Beginning(latents, predict_noise)
