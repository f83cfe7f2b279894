"""Textual inversion (arXiv 2208.01618): words learned as vectors, in the places of a text encoder.

A file holds one or more vectors for one name, in one of several layouts; here they become rows below
a text encoder's own table of words, so that a prompt may say the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.loader import Host
from animatediff.weights.storage.completeness import MOST_NAMED, counted
from animatediff.weights.storage.files import Header, read_header, read_weights

MAX_VECTORS = 75
"""As many as one stretch of a prompt has room for."""
_ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


@dataclass(frozen=True)
class EmbeddingFile:
    """A textual inversion's file: its shapes are known, its values not yet read.

    Attributes:
        header: its file's.
        name: what prompts call it: the file's name, or what the file itself says.
        tensors: the file's name of the vectors for each text encoder.
        notes: what of the file is left out, in a sentence.
    """

    header: Header
    name: str
    tensors: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Word:
    """A learned word in a model.

    Attributes:
        name: what prompts call it.
        rows: of the text encoder's table.
        notes: what of its file is left out, a sentence each.
    """

    name: str
    rows: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_embedding(path: Path) -> EmbeddingFile:
    """What a textual inversion's file says of itself.

    Raises:
        FileError: the file is broken, or holds something else.
    """
    header = read_header(path)
    kind = inspect_header(header)
    if kind.kind not in ("embedding", "unknown"):
        check_kind(kind, "embedding")
    names = list(header.shapes)
    if set(names) >= set(_ENCODERS):
        found = EmbeddingFile(header, path.stem, {part: key for key, part in _ENCODERS.items()})
    elif "emb_params" in names:
        found = EmbeddingFile(header, path.stem, {"text_encoder": "emb_params"})
    elif len(names) == 1 and len(header.shapes[names[0]]) in (1, 2):
        name = names[0].strip() or path.stem
        stem = name in ("*", "string_to_param.*", "clip_l") or "." in name
        found = EmbeddingFile(header, path.stem if stem else name, {"text_encoder": names[0]})
    else:
        raise FileError(
            f"{path} is not a textual inversion: it has neither emb_params, nor clip_l and clip_g, "
            "nor one tensor of one or more vectors."
        )
    counts = {_count(header.shapes[key]) for key in found.tensors.values()}
    if len(counts) > 1 or not 1 <= max(counts) <= MAX_VECTORS:
        raise FileError(
            f"{path} has {' and '.join(map(str, sorted(counts)))} vectors; a learned word has 1 to "
            f"{MAX_VECTORS}, as many for each text encoder."
        )
    unknown = [name for name in names if name not in found.tensors.values()]
    if not unknown:
        return found
    if len(unknown) > MOST_NAMED:
        raise FileError(f"{path} is not a textual inversion: it also has {counted(unknown)}.")
    note = f"{path.name} also has {counted(unknown)}, which a learned word has no use for."
    return replace(found, notes=(note,))


def _count(shape: Sequence[int]) -> int:
    return shape[0] if len(shape) == 2 else 1


def add_words(base: BaseModel, files: Sequence[EmbeddingFile]) -> tuple[Word, ...]:
    """Put learned words below the tables of a model's text encoders.

    Raises:
        FileError: a word was learned for another model.
        InputError: two words have the same name.
    """
    encoders: dict[str, nn.Module] = {
        name: part for name, part in base.networks.items() if name != "unet"
    }
    tables = {name: _table(encoder) for name, encoder in encoders.items()}
    first = len(tables["text_encoder"].weight)
    columns: dict[str, list[Tensor]] = {name: [table.weight.data] for name, table in tables.items()}
    words: list[Word] = []
    for file in files:
        if any(word.name.lower() == file.name.lower() for word in words):
            raise InputError(f"Two textual inversions are called {file.name!r:.80}; rename one.")
        _check_widths(file, {name: table.weight.shape[1] for name, table in tables.items()})
        weights = read_weights(file.header, refuse_nan=True)
        for part, key in file.tensors.items():
            rows = weights[key].reshape(-1, weights[key].shape[-1])
            columns[part].append(rows.to(columns[part][0]))
        count = _count(file.header.shapes[file.tensors["text_encoder"]])
        words.append(Word(file.name, tuple(range(first, first + count)), file.notes))
        first += count
    if words:
        for name, table in tables.items():
            table.weight = nn.Parameter(torch.cat(columns[name]), requires_grad=False)
            table.num_embeddings = len(table.weight)
    return tuple(words)


def check_widths(base: BaseModel, file: EmbeddingFile) -> None:
    """Raise if a word was learned for another kind of model.

    Raises:
        FileError: its vectors are of another width.
    """
    encoders = {name: part for name, part in base.networks.items() if name != "unet"}
    _check_widths(file, {n: _table(part).weight.shape[1] for n, part in encoders.items()})


def _table(encoder: nn.Module) -> nn.Embedding:
    inner = getattr(encoder, "text_model", encoder)
    return cast(nn.Embedding, inner.get_submodule("embeddings.token_embedding"))


def _check_widths(file: EmbeddingFile, widths: Mapping[str, int]) -> None:
    found = {part: file.header.shapes[key][-1] for part, key in file.tensors.items()}
    if found != dict(widths):
        raise FileError(
            f"{file.header.path} has vectors of {' and '.join(map(str, found.values()))} numbers, "
            f"and this model's words have {' and '.join(map(str, widths.values()))}; it was learned "
            "for another kind of model."
        )


def word_pattern(words: Sequence[Word]) -> re.Pattern[str] | None:
    """Finds the names of learned words in a text, the longest first; also as ``embedding:name``."""
    names = sorted((re.escape(word.name) for word in words), key=len, reverse=True)
    if not names:
        return None
    return re.compile(rf"(?<!\w)(?:embedding:)?({'|'.join(names)})(?!\w)", re.IGNORECASE)


def renamed(file: EmbeddingFile, name: str) -> EmbeddingFile:
    """The same word under another name."""
    return replace(file, name=name)


class Embeddings:
    """The loader of textual inversions."""

    def read(self, path: Path) -> EmbeddingFile:
        """As ``read_embedding``."""
        return read_embedding(path)

    def fit(self, files: Sequence[EmbeddingFile], host: Host) -> Sequence[EmbeddingFile]:
        """The same files; ``fill`` checks them against the text encoders' tables."""
        return files

    def fill(
        self,
        fitted: Sequence[EmbeddingFile],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[Word]:
        """As ``add_words``."""
        return add_words(base, fitted)

    def move(self, added: Word, device: torch.device) -> None:
        """Nothing: words are in the text encoders' tables."""

    def notes(self, added: Word) -> Sequence[str]:
        """What of the file is left out."""
        return added.notes
