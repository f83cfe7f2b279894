"""Train the image model and its text encoder together.

A text encoder distilled from sentences places a pizza near a cake, which pictures must distinguish. As
in latent diffusion (arXiv 2112.10752, Sec. 3.3), the text encoder is also trained by the denoising
loss. A second term keeps its pooled states, so that words outside all captions keep their meaning.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPTextModel

from animatediff.training.lessons.clips import ClipBatch, ClipLesson, ReadBatch
from animatediff.training.lessons.denoiser import TextEmbedder


@dataclass
class ImageAndTextLesson:
    """Train denoising of stills together with the text encoder.

    Attributes:
        denoising: the image model's lesson.
        text: the tokenizer and the trained text encoder of that lesson.
        phrases: words and phrases whose pooled states are kept.
        hold: weight of that term, relative to the denoising loss.
        held_at_once: phrases per step.
    """

    denoising: ClipLesson
    text: TextEmbedder
    phrases: list[str]
    hold: float = 0.5
    held_at_once: int = 48

    def __post_init__(self) -> None:
        self.fetch: ReadBatch = self.denoising.fetch
        encoder = self.text.text_encoder
        self._before = copy.deepcopy(encoder).requires_grad_(False).eval()
        learned_layers(encoder)
        self.text_encoder = encoder
        self.unet = self.denoising.learns
        self.learns: nn.Module = nn.ModuleDict({"unet": self.unet, "text_encoder": encoder})
        self.size = self.denoising.size

    def losses(self, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the denoising loss of these stills, and the drift of phrases' states."""
        terms = self.denoising.losses(batch, generator)
        drift = self._drift(generator)
        return {**terms, "loss": terms["loss"] + self.hold * drift, "drift": drift}

    def _drift(self, generator: torch.Generator) -> Float[Tensor, ""]:
        chosen = torch.randint(len(self.phrases), (self.held_at_once,), generator=generator)
        phrases = [self.phrases[i] for i in chosen.tolist()]
        tokens = self.text.tokenizer(
            phrases,
            padding=True,
            max_length=77,
            truncation=True,
            return_tensors="pt",
        ).input_ids.to(self.text_encoder.device)
        now = self.text_encoder(tokens).pooler_output.float()
        before = self._before.to(tokens.device)(tokens).pooler_output.float()
        return 1 - nn.functional.cosine_similarity(now, before, dim=-1).mean()


def learned_layers(encoder: CLIPTextModel) -> CLIPTextModel:
    """Train every layer except the embeddings, which include words outside all captions."""
    encoder.requires_grad_(True)
    encoder.get_input_embeddings().requires_grad_(False)
    return encoder
