"""The denoisers that stages train: the image model on single frames, or animated on clips.

A denoiser also needs captions, as the text encoder's states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

Denoiser = Callable[
    [Float[Tensor, "batch channels frames height width"], Int[Tensor, " batch"], Tensor], Tensor
]
"""Noisy latents, timesteps and text states to a prediction of the latents' shape."""


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


def frame_by_frame(unet: UNet2DConditionModel) -> Denoiser:
    """The image model on clips of one frame."""

    def predict(latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        pictures = latents.squeeze(2).contiguous(memory_format=torch.channels_last)
        return unet(pictures, timesteps, text, return_dict=False)[0].unsqueeze(2)

    return predict
