"""Encode prompts with CLIP, in chunks of 75 tokens.

The chunks of a longer text are encoded separately and concatenated. All texts of an animation get the
same number of chunks, which guidance and blending need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.text.prompt_syntax import Piece, plain, weighted
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.textual_inversion import Word, word_pattern

Emphasis = Literal["a1111", "comfy", "none"]
"""How weights count: by the mean of the states, towards the empty text, or as plain brackets."""

COMMA_REACH = 20
"""A chunk ends at its last comma rather than within a phrase, if that is this near to its end."""
MAX_CHUNKS = 64
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Conditioning:
    """An encoded text.

    Attributes:
        states: the text encoder's states, one row per token, with padding.
        added: SDXL's ``text_embeds``, one vector for the whole text.
        num_tokens: number of tokens without padding.
    """

    states: Float[Tensor, "1 n d"] | Float[Tensor, "1 f n d"]
    added: Mapping[str, Tensor]
    num_tokens: int


@dataclass
class _Chunk:
    """One chunk: the input of one pass of the text encoder."""

    ids: list[int] = field(default_factory=list[int])
    weights: list[float] = field(default_factory=list[float])


def encode_prompts(
    texts: Sequence[str],
    *,
    base: BaseModel,
    words: Sequence[Word] = (),
    clip_skip: int | None = None,
    emphasis: Emphasis = "a1111",
    is_negative: Sequence[bool] = (),
) -> list[Conditioning]:
    """Encode texts in any script, all with the number of chunks of the longest.

    Args:
        texts: prompts in the syntax of ``prompt_syntax.py``.
        base: the image model.
        words: textual inversions that the texts may contain.
        clip_skip: 1 is the text encoder's last layer, 2 the one before; ``None`` is the model's
            default.
        emphasis: the interpretation of weights.
        is_negative: whether each text is a negative prompt; an empty one becomes zeros for models
            that were trained so.

    Raises:
        InputError: a text is too long or the text encoder has fewer layers.
    """
    read = [weighted(text) if emphasis != "none" else plain(text) for text in texts]
    is_xl = base.text_encoder_2 is not None
    first = _Encoder(base.text_encoder, base.tokenizer, words, is_xl=is_xl, device=base.device)
    encoders = [first]
    if is_xl:
        second = _Encoder(
            base.text_encoder_2, base.tokenizer_2, words, is_xl=True, device=base.device
        )
        encoders.append(second)
    chunked = [[encoder.chunks(sections) for encoder in encoders] for sections in read]
    longest = max(len(chunks) for of_text in chunked for chunks in of_text)
    if longest > MAX_CHUNKS:
        raise InputError(
            f"The prompt has {longest} chunks of {first.room} tokens, and at most {MAX_CHUNKS} "
            "are read; shorten it."
        )
    encoded: list[Conditioning] = []
    negatives = is_negative or [False] * len(texts)
    for text, of_text, negative in zip(texts, chunked, negatives, strict=True):
        parts = [
            encoder.encode(
                [*chunks, *(_Chunk() for _ in range(longest - len(chunks)))],
                clip_skip=clip_skip,
                emphasis=emphasis,
            )
            for encoder, chunks in zip(encoders, of_text, strict=True)
        ]
        states = torch.cat([states for states, _ in parts], dim=-1) if parts[1:] else parts[0][0]
        pooled = {"text_embeds": parts[1][1]} if parts[1:] else {}
        if negative and base.empty_is_zero and not text.strip():
            states = torch.zeros_like(states)
            pooled = {name: torch.zeros_like(value) for name, value in pooled.items()}
        encoded.append(Conditioning(states, pooled, sum(len(c.ids) for c in of_text[0])))
    return encoded


class _Encoder:
    """A text encoder with its tokenizer and textual inversions."""

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        words: Sequence[Word],
        *,
        is_xl: bool,
        device: torch.device,
    ) -> None:
        self.module = module
        self.device = device
        self.is_xl = is_xl
        self.tokenizer = tokenizer
        self.words = {word.name.lower(): word.rows for word in words}
        self.pattern = word_pattern(words)
        # CLIP with a projection keeps the encoder proper in ``text_model``.
        self.inner = getattr(module, "text_model", module)
        rows: int = module.config.max_position_embeddings
        self.length = min(rows, tokenizer.model_max_length)
        self.room = self.length - 2  # for the marks of start and end
        self.comma = tokenizer.convert_tokens_to_ids(",</w>")

    def chunks(self, sections: Sequence[Sequence[Piece]]) -> list[_Chunk]:
        """Return the tokens of a text in chunks; every section begins a new one."""
        found: list[_Chunk] = []
        for section in sections:
            found.append(_Chunk())
            for ids, weight in self._tokens(section):
                self._put(ids, weight, found)
        return found

    def _put(self, ids: Sequence[int], weight: float, found: list[_Chunk]) -> None:
        """Append tokens that must stay together, in a new chunk if needed."""
        if len(found[-1].ids) + len(ids) > self.room:
            last, new = found[-1], _Chunk()
            tail = last.ids[-COMMA_REACH:]
            if self.comma in tail and last.ids[-1] != self.comma:
                after = len(last.ids) - tail[::-1].index(self.comma)
                new.ids, new.weights = last.ids[after:], last.weights[after:]
                del last.ids[after:], last.weights[after:]
            found.append(new)
        found[-1].ids += ids
        found[-1].weights += [weight] * len(ids)

    def _tokens(self, section: Sequence[Piece]) -> Iterator[tuple[list[int], float]]:
        """Yield tokens one by one, and all tokens of a textual inversion together."""
        for piece in section:
            weight = max(-MAX_WEIGHT, min(MAX_WEIGHT, piece.weight))
            parts = self.pattern.split(piece.text) if self.pattern else [piece.text]
            for i, part in enumerate(parts):
                if i % 2:
                    yield list(self.words[part.lower()]), weight
                    continue
                # Not verbose: it would warn of texts of several chunks, which are read in chunks.
                ids = self.tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]
                yield from (([number], weight) for number in ids)

    def encode(
        self, chunks: Sequence[_Chunk], *, clip_skip: int | None, emphasis: Emphasis
    ) -> tuple[Float[Tensor, "1 n d"], Float[Tensor, "1 p"]]:
        """Return the states of all chunks, and the pooled vector of the first."""
        states, last = self._read(chunks, clip_skip=clip_skip)
        weights = torch.ones(states.shape[:2], device=states.device)
        for row, chunk in enumerate(chunks):
            weights[row, 1 : 1 + len(chunk.ids)] = torch.tensor(chunk.weights)
        if not torch.equal(weights, torch.ones_like(weights)):
            if emphasis == "comfy":
                empty, _ = self._read([_Chunk()], clip_skip=clip_skip)
                states = empty + weights[..., None] * (states - empty)
            else:
                states = _with_mean_kept(states, weights)
        pooled = last[:1, 1 + len(chunks[0].ids)]
        projection = getattr(self.module, "text_projection", None)
        pooled = projection(pooled) if projection is not None else pooled
        return states.flatten(0, 1)[None], pooled

    def _read(
        self, chunks: Sequence[_Chunk], *, clip_skip: int | None
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """Return the states of the chosen layer and of the last layer."""
        start, end, pad = (
            getattr(self.tokenizer, f"{mark}_token_id") for mark in ("bos", "eos", "pad")
        )
        # As Stable Diffusion was trained: padding is attended to like any token.
        rows = [[start, *chunk.ids, end] for chunk in chunks]
        rows = [row + [pad] * (self.length - len(row)) for row in rows]
        ids = torch.tensor(rows, device=self.device)
        skip = (2 if self.is_xl else 1) if clip_skip is None else clip_skip
        layers: int = self.module.config.num_hidden_layers
        if not 1 <= skip <= layers:
            raise InputError(
                f"clip_skip = {skip} is out of range; this model's text encoder has {layers} layers."
            )
        if skip == 1 and not self.is_xl:
            last = self.inner(input_ids=ids).last_hidden_state
            return last, last
        output = self.inner(input_ids=ids, output_hidden_states=True)
        states = output.hidden_states[-skip]
        # SDXL attends to a layer as it is; the others to what the last norm makes of it.
        return states if self.is_xl else self.inner.final_layer_norm(
            states
        ), output.last_hidden_state


def _with_mean_kept(
    states: Float[Tensor, "b n d"], weights: Float[Tensor, "b n"]
) -> Float[Tensor, "b n d"]:
    """Multiply states by weights, then scale each chunk so that its mean is unchanged.

    A mean that is negligible beside the spread is not restored.
    """
    moved = states * weights[..., None]
    before, after = (x.mean(dim=(1, 2), keepdim=True) for x in (states, moved))
    least = 1e-4 * states.std(dim=(1, 2), keepdim=True)
    has_mean = (before.abs() > least) & (after.abs() > least)
    return moved * torch.where(has_mean, before / after, 1.0)
