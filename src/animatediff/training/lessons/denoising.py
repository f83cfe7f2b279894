"""Learning to denoise: the image model (Eq. 2), motion (Eq. 5), adapters and personalised styles.

These stages differ only in what learns, what is attached to the image model and how many frames a
sample has; the objective is one (arXiv 2307.04725, Sec. 4).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.training.lessons.lesson import Fetch, numbers_themselves
from animatediff.training.lessons.objective import (
    Prediction,
    denoising_loss,
    min_snr_weight,
    noised,
    random_timesteps,
    velocity,
)
from animatediff.world.art.captions import caption_of
from animatediff.world.stages.latents import LatentClips

PredictNoise = Callable[
    [Float[Tensor, "batch channels frames height width"], Int[Tensor, " batch"], Tensor], Tensor
]


def new_image_unet() -> UNet2DConditionModel:
    """The built-in image model: Stable Diffusion's blocks, 16x16 latents, 8.5 M parameters, 4 heads."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=12,
        out_channels=12,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 128, 160),
        layers_per_block=1,
        cross_attention_dim=192,
        attention_head_dim=4,
        norm_num_groups=32,
    )


@dataclass
class TextEmbedder:
    """Captions to the text encoder's states, which the image model attends to."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel

    def __call__(self, captions: list[str]) -> Float[Tensor, "batch tokens width"]:
        """The last states of every caption, padding included; with a gradient if the encoder learns."""
        tokens = self.tokenizer(
            captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        )
        device = self.text_encoder.device
        return self.text_encoder(tokens.input_ids.to(device)).last_hidden_state


def attend_plainly(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Compute attention as plain products while training on a CPU.

    The same numbers; torch's fused attention spends over a third of a step on its way back there.
    """
    if unet.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
    return unet


def frame_by_frame(unet: UNet2DConditionModel) -> PredictNoise:
    """The image model on clips of one frame."""

    def predict(latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        pictures = latents.squeeze(2).contiguous(memory_format=torch.channels_last)
        return unet(pictures, timesteps, text, return_dict=False)[0].unsqueeze(2)

    return predict


@dataclass
class DenoisingLesson:
    """Predict the noise that was added to latents, told what they show.

    Attributes:
        learns: the only module whose weights change.
        predict_noise: the whole denoiser, with everything that is attached to it.
        null_text: how often the caption is dropped, for classifier-free guidance (arXiv 2207.12598).
        prediction: what the model is asked for: the noise (``epsilon``, as in the paper and Stable
            Diffusion 1), or the ``v_prediction`` of Stable Diffusion 2.
        min_snr: gamma of min-SNR weighting of noise; ``None`` is the paper's plain mean square.
        caption: makes a caption of a clip's facts.
        fetch: chooses the clips of a batch; by default each in turn.
    """

    learns: nn.Module
    predict_noise: PredictNoise
    embed: TextEmbedder
    clips: LatentClips
    alphas_bar: Float[Tensor, " timesteps"]
    num_frames: int = 1
    null_text: float = 0.1
    prediction: Prediction = "epsilon"
    min_snr: float | None = None
    caption: Callable[..., str] = field(default=caption_of)
    fetch: Fetch = numbers_themselves

    def __post_init__(self) -> None:
        self.size = len(self.clips)

    def losses(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss of these clips at timesteps of their own."""
        device = next(self.learns.parameters()).device
        latents = self.clips.windows(indices, num_frames=self.num_frames, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = random_timesteps(len(indices), total=len(self.alphas_bar), generator=generator)
        captions = self._captions(indices, generator)
        alpha_bar = self.alphas_bar[timesteps].to(device)
        latents, noise = latents.to(device), noise.to(device)
        predicted = self.predict_noise(
            noised(latents, noise, alpha_bar), timesteps.to(device), self.embed(captions)
        )
        is_velocity = self.prediction == "v_prediction"
        target = velocity(latents, noise, alpha_bar) if is_velocity else noise
        plain = denoising_loss(predicted, target)
        if self.min_snr is None:
            return {"loss": plain}
        weight = min_snr_weight(alpha_bar, gamma=self.min_snr, prediction=self.prediction)
        return {"loss": denoising_loss(predicted, target, weight), "plain": plain}

    def _captions(self, indices: Int[Tensor, " batch"], generator: torch.Generator) -> list[str]:
        draw = random.Random(int(torch.randint(2**62, (), generator=generator)))
        return [
            "" if draw.random() < self.null_text else self.caption(self.clips.meta[i], draw=draw)
            for i in indices.tolist()
        ]
