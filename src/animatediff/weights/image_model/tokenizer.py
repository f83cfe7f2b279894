"""CLIP's tokenizer, from a folder or from the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from animatediff.errors import FileError, reason_of
from animatediff.weights.image_model.single_file import PUBLISHED
from animatediff.weights.storage.files import read_json

if TYPE_CHECKING:
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
OPEN_CLIP_PAD = "!"
"""What OpenCLIP fills a row with: the token of number 0."""


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """Read CLIP's tokenizer from ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

    Raises:
        FileError: one of them is missing or not valid.
    """
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    config = read_json(folder / "tokenizer_config.json")
    vocabulary = read_json(folder / "vocab.json")
    try:
        pairs = _merges(folder / "merges.txt")
        special = {
            name: _token(config[name])
            for name in ("bos_token", "eos_token", "unk_token", "pad_token")
            if name in config
        }
        return CLIPTokenizer(
            vocab=vocabulary,
            merges=pairs,  # pyright: ignore[reportArgumentType] - tokenizers takes pairs
            model_max_length=int(config.get("model_max_length", 77)),
            **special,
        )
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {reason_of(error)}.") from None
    except Exception:  # noqa: BLE001 - tokenizers, in Rust, raises nothing more exact
        raise FileError(f"{folder} is not a CLIP tokenizer; get its files again.") from None


def clip_tokenizer(*, pad: str = END) -> CLIPTokenizer:
    """Return CLIP's published tokenizer, for image models without one."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    merges = _merges(PUBLISHED / "merges.txt")
    letters = _letters()
    words = ["".join(pair) for pair in merges]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *words, START, END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,  # pyright: ignore[reportArgumentType] - tokenizers takes pairs
        model_max_length=77,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=pad,
    )


def _merges(path: Path) -> list[tuple[str, ...]]:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def _letters() -> list[str]:
    """Return the 256 bytes in CLIP's order and spelling: printable ones first."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), key=ord)
    return [c for c in alphabet if ord(c) < 256] + [c for c in alphabet if ord(c) >= 256]


def _token(value: Any) -> str:
    """Return a special token, which older files write as a table."""
    return str(value["content"]) if isinstance(value, dict) else str(value)
