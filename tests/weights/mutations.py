"""Broken files out of whole ones, the same for the same random generator."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

WORDS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u0000", b"\xff", b"null", b"1e999", b"-1"),
    *(b"18446744073709551616", b"__metadata__", b"dtype", b"F32", b"BF16", b"data_offsets"),
    *(b"lora_down.weight", b".motion_modules.0.temporal_transformer.", b"pos_encoder.pe"),
    *(b"attn2.to_k.weight", b"decoder.conv_in.weight", b"hada_w1_b", b"clip_g", b"lora_unet_"),
    *(b"99999999999999999999", b"module.", b"^", b"$", b"#", b"mid_block.motion_modules.0."),
)
NUMBERS = (0, 1, -1, 2, 3, 4, 8, 24, 32, 64, 768, 2048, 2**31, 2**53, 2**63, 10**30)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The same file with a few changes, in half of the cases such as leave it readable."""
    if rng.random() < 0.5:
        return disguised(content, rng)
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(MUTATIONS)(content, rng)
    return content


def disguised(content: bytes, rng: random.Random) -> bytes:
    """Other names and shapes, none of which breaks a rule: what recognises them must not fall."""
    length = int.from_bytes(content[:8], "little")
    table: dict[str, Any] = json.loads(content[8 : 8 + length])
    for _ in range(rng.choice((1, 2, 5, 30))):
        name = rng.choice(list(table))
        if name == "__metadata__":
            table[name] = rng.choice(({"family": "v2"}, {"kind": "adapter"}, {"family": "\n"}, {}))
        elif rng.random() < 0.5:
            table[_renamed(name, rng)] = table.pop(name)
        elif 0 in table[name]["shape"]:
            others = [rng.choice(NUMBERS[3:]) for _ in range(rng.randrange(5))]
            table[name]["shape"] = rng.sample([0, *others], len(others) + 1)
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def overwrite(path: Path, content: bytes) -> None:
    """Put other bytes into a file that is there, which is quicker than to empty it first."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate(len(content))


def flip(content: bytes, rng: random.Random) -> bytes:
    """One byte is another."""
    if not content:
        return content
    place = rng.randrange(min(len(content), 4096))
    return content[:place] + rng.randbytes(1) + content[place + 1 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing, or there is more of it."""
    if rng.random() < 0.5:
        return content[: rng.randrange(len(content) + 1)]
    return content + rng.randbytes(rng.randrange(16))


def insert(content: bytes, rng: random.Random) -> bytes:
    """A word of the format where there was none."""
    place = rng.randrange(min(len(content), 8192) + 1)
    return content[:place] + rng.choice(WORDS) + content[place:]


def remove(content: bytes, rng: random.Random) -> bytes:
    """A piece is missing."""
    place = rng.randrange(len(content) + 1)
    return content[:place] + content[place + rng.randrange(64) :]


def relength(content: bytes, rng: random.Random) -> bytes:
    """The header says another length."""
    length = rng.choice((0, 1, 7, len(content), len(content) - 8, 2**24, 2**62, 2**64 - 1))
    return struct.pack("<Q", max(0, length)) + content[8:]


def retable(content: bytes, rng: random.Random) -> bytes:
    """One entry of the table is another, and the header is as long as it says."""
    length = int.from_bytes(content[:8], "little")
    try:
        table = json.loads(content[8 : 8 + length])
        name = rng.choice(list(table))
        entry = table[name]
        if not isinstance(entry, dict):
            return content
    except (ValueError, IndexError, TypeError, RecursionError):
        return content
    change = rng.randrange(6)
    if change == 0:
        table[_renamed(name, rng)] = table.pop(name)
    elif change == 1:
        entry["dtype"] = rng.choice(("F64", "F16", "I8", "F4", "", 3, None, "F8_E5M2"))
    elif change == 2:
        entry["shape"] = [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]
    elif change == 3:
        entry["data_offsets"] = [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
    elif change == 4:
        table[name] = rng.choice(([], {}, 1, "x", None, [[[]]]))
    else:
        table["__metadata__"] = rng.choice(({"family": "v2"}, {"a": 1}, [], None, "x"))
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _renamed(name: Any, rng: random.Random) -> str:
    word = rng.choice(WORDS).decode("latin-1")
    place = rng.randrange(len(str(name)) + 1)
    return f"{str(name)[:place]}{word}{str(name)[place:]}"


MUTATIONS = (flip, flip, cut, insert, remove, relength, retable, retable, retable)
