"""The image model and the words it reads, learned together.

A text encoder that was distilled from sentences puts a pizza near a cake, as sentences do; a picture
needs them apart. As in latent diffusion (arXiv 2112.10752, Sec. 3.3) the text encoder learns from
the denoising loss too, held to the meanings it has so that words which no caption holds keep theirs.
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
    """Denoise stills with the text encoder learning along.

    Attributes:
        denoising: the image model's own lesson.
        text: the tokenizer and the text encoder of that lesson, which learns along.
        phrases: whose pooled meanings must stay, as words and phrases of any kind.
        hold: the weight of staying, against the denoising loss.
        held_at_once: phrases checked at each step.
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
        """The denoising loss of these stills, and how far phrases drift from their meanings."""
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
    """Let every layer learn but the embeddings, which hold words that no caption has."""
    encoder.requires_grad_(True)
    encoder.get_input_embeddings().requires_grad_(False)
    return encoder
