"""Text to what the image model attends to: CLIP's states of exactly as many tokens as it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.weights.base_model import BaseModel


@dataclass(frozen=True)
class EncodedPrompt:
    """A text as the image model sees it.

    Attributes:
        states: the text encoder's last states, one row for each token, padding included.
        num_tokens: tokens of the text itself.
        dropped: the end of the text, where it has more tokens than the encoder takes.
    """

    states: Float[Tensor, "1 n d"]
    num_tokens: int
    dropped: str


def encode_prompt(text: str, *, base: BaseModel) -> EncodedPrompt:
    """Encode a text in any script; what is too long is cut off, and said to be."""
    tokenizer: Any = base.tokenizer  # its annotations know neither ids of texts nor texts of ids
    length = min(base.text_encoder.config.max_position_embeddings, tokenizer.model_max_length)
    room = length - 2  # for the marks of start and end
    # As Stable Diffusion was trained: padding is attended to like any token.
    ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    kept = [start, *ids[:room], end]
    row = torch.tensor([kept + [pad] * (length - len(kept))], device=base.text_encoder.device)
    states = base.text_encoder(input_ids=row).last_hidden_state
    return EncodedPrompt(states, len(ids), tokenizer.decode(ids[room:]) if len(ids) > room else "")
