"""A tokenizer small enough to write in a blink, in the layout of CLIP's."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import pre_tokenizers

START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path) -> int:
    """A token for every byte and a few words; returns the size of the vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("f", "o"), ("fo", "x</w>"), ("a", "n")]
    words = ["".join(pair) for pair in merges]
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *words, START, END]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config = {"model_max_length": 77, "bos_token": START, "eos_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)
