"""Textual inversions that prompts name: found in the model folders, and reported if unused.

As in A1111, ``easynegative`` in a prompt means the file of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from animatediff.errors import FileError, InputError
from animatediff.sampling.text.prompt_syntax import take_loras
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.finding.folders import list_found
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.textual_inversion import (
    EmbeddingFile,
    Word,
    check_widths,
    read_embedding,
    word_pattern,
)

_MARKED = re.compile(r"(?<!\w)embedding:([^\s,()\[\]:|<>]+)", re.IGNORECASE)
"""A textual inversion as ComfyUI's users name it."""


def named_in_folders(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of textual inversions in the model folders that any text contains."""
    plain = "\n".join(take_loras(text)[0] for text in texts)
    if not plain.strip():
        return ()
    names = dict.fromkeys(Path(found.name).name for found in list_found("embedding"))
    return tuple(name for name in names if _pattern(name).search(plain))


def _pattern(name: str) -> re.Pattern[str]:
    pattern = word_pattern([Word(name, ())])
    assert pattern is not None
    return pattern


def read_named(names: Sequence[str], *, base: BaseModel) -> tuple[list[EmbeddingFile], list[str]]:
    """Read textual inversions that prompts name and no option lists.

    A file that does not fit the model is left out with a note: the prompt may mean the plain word.

    Returns:
        The files that fit, and a note on each that does not.
    """
    files: list[EmbeddingFile] = []
    notes: list[str] = []
    for name in names:
        try:
            file = read_embedding(resolve("embedding", name))
            check_widths(base, file)
            if file.name.lower() != name.lower():
                raise InputError(f"the file of that name holds the word {file.name}, so write that")
        except (FileError, InputError) as error:
            reason = str(error).rstrip(".")
            notes.append(f"The prompt's {name!r:.80} is read as plain text: {reason}.")
        else:
            files.append(file)
    return files, notes


def unknown_words(words: Sequence[Word], *, texts: Sequence[str]) -> list[str]:
    """Return a note on each ``embedding:name`` in a text that is no loaded word."""
    known = tuple(word.name.lower() for word in words)
    named = dict.fromkeys(name for text in texts for name in _MARKED.findall(text))
    return [
        f"The prompt's embedding:{name:.80} is read as plain text: there is no textual inversion of "
        "that name; give its file to --embedding, or put it into a model folder."
        for name in named
        # Names may contain blanks, at which the pattern ends.
        if not any(word.startswith(name.lower()) for word in known)
    ]


def unused_words(words: Sequence[Word], *, texts: Sequence[str], negative: str) -> list[str]:
    """Return a note on each loaded word that no text contains.

    Args:
        words: the loaded words.
        texts: every text that is encoded.
        negative: the negative prompt if it is not encoded, else empty.
    """
    plain = "\n".join(take_loras(text)[0] for text in texts)
    notes: list[str] = []
    for word in words:
        if _pattern(word.name).search(plain):
            continue
        if _pattern(word.name).search(negative):
            why = "is named only in the negative prompt, which a guidance of 1 does not read"
        else:
            why = (
                f"is not named in a prompt and changes nothing; write {word.name} where it belongs"
            )
        notes.append(f"The textual inversion {word.name} {why}.")
    return notes
