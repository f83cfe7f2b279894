"""Textual inversion: train the vectors of a new word, with every network frozen.

Gal et al., arXiv 2208.01618. The vectors are one more graft: a branch on the output of the text
encoder's embedding table, which adds them where the word stands.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.errors import InputError
from animatediff.model.grafts.graft import Graft


class NewWord(nn.Module):
    """The vectors of a new word.

    Args:
        ids: the tokens that stand for it, whose rows in the embedding table are zero.
        start: initial value of the vectors.
    """

    def __init__(self, ids: Int[Tensor, " n"], start: Float[Tensor, "n width"]) -> None:
        super().__init__()
        self.emb_params = nn.Parameter(start.clone())
        self._ids = ids

    def forward(
        self, ids: Int[Tensor, "batch tokens"], output: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the vectors at the positions of the word, and zero elsewhere."""
        places = (ids[..., None] == self._ids.to(ids.device)).to(self.emb_params.dtype)
        return (places @ self.emb_params).to(output.dtype)


def teach_word(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, word: str, *, like: str, count: int
) -> NewWord:
    """Add a new word of ``count`` vectors to a tokenizer and its text encoder.

    Args:
        tokenizer: it gets the tokens ``word``, ``word_1`` and so on.
        encoder: its embedding table gets as many rows.
        word: such as ``<fox>``.
        like: a known word, whose first vector initialises all of the new one's.
        count: number of vectors.

    Raises:
        InputError: the word exists already, or ``like`` is not a word.
    """
    known: Any = tokenizer  # its annotations leave these methods out
    names = tokens_of(word, count)
    if known.add_tokens(names) != count:
        raise InputError(
            f"The word {word!r} exists already in this model; choose another, such as <my-dog>."
        )
    like_ids = known.convert_tokens_to_ids(known.tokenize(like))
    if not like_ids:
        raise InputError(f"{like!r} has no token in this model; choose a word it knows.")
    table = cast(nn.Embedding, encoder.get_input_embeddings())
    start = table.weight.detach()[like_ids[0]].clone().float()
    learned_before = table.weight.requires_grad
    with torch.random.fork_rng(devices=[]):
        encoder.resize_token_embeddings(len(known), mean_resizing=False)
    table = cast(nn.Embedding, encoder.get_input_embeddings())
    table.requires_grad_(learned_before)
    ids = torch.tensor(known.convert_tokens_to_ids(names))
    with torch.no_grad():
        table.weight[ids] = 0
    new = NewWord(ids, start.expand(count, -1)).to(table.weight.device)
    Graft(new).attach(table)
    return new


def tokens_of(word: str, count: int) -> list[str]:
    """Return the tokens that stand for a word of several vectors."""
    return [word, *(f"{word}_{i}" for i in range(1, count))]


def spelled(caption: str, word: str, count: int) -> str:
    """Replace the word in a caption with the tokens of all its vectors."""
    return caption.replace(word, " ".join(tokens_of(word, count)))
