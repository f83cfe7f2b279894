"""Resolve wildcards in prompts with the seed.

``{red|blue}`` is one of its parts, ``{2$$red|blue|green}`` two different ones, and ``__animal__`` a
line of ``animal.txt`` in the wildcard folder. Every choice has a random generator from the seed and
the choice's number, so a seed always gives the same choices.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from pathlib import Path

from platformdirs import user_data_path

from animatediff.config import nearest
from animatediff.errors import FileError, InputError, reason_of

MAX_CHOICES = 1000
"""Choices in one prompt, those in the lines that were chosen included."""
MAX_DEPTH = 100
MAX_RESULT = 10_000
MAX_FILE_BYTES = 16 << 20

_TOKEN = re.compile(r"\\.|__[\w][\w/ -]{0,99}?__|[{}|]|[^\\_{}|]+|.", re.DOTALL)
_COUNT = re.compile(r"(\d{1,3})\$\$")


def wildcard_folder() -> Path:
    """Return the folder of wildcard files: ``ANIMATEDIFF_WILDCARDS``, or in the user's data folder."""
    named = os.environ.get("ANIMATEDIFF_WILDCARDS")
    return Path(named).expanduser() if named else user_data_path("animatediff") / "wildcards"


def resolve_wildcards(template: str, *, seed: int, folder: Path | None = None) -> str:
    """Resolve every wildcard in a prompt.

    Args:
        template: the prompt.
        seed: of the choices.
        folder: of the files; by default ``wildcard_folder()``.

    Raises:
        InputError: a wildcard file is missing, or there are too many choices.
        FileError: a file cannot be read.
    """
    if "{" not in template and "__" not in template:
        return template
    chooser = _Chooser(seed, folder or wildcard_folder())
    text = template
    # A line that was chosen may hold choices again.
    for _ in range(16):
        once = chooser.once(text)
        if once == text:
            return text
        text = once
    raise InputError("The wildcards of the prompt name each other without end.")


class _Chooser:
    """Makes choices in their order."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.count = 0

    def generator(self) -> random.Random:
        """Return the random generator of the next choice."""
        self.count += 1
        if self.count > MAX_CHOICES:
            raise InputError(f"The prompt leaves more than {MAX_CHOICES} choices open.")
        digest = hashlib.sha256(f"{self.seed}:{self.count}".encode()).digest()
        return random.Random(int.from_bytes(digest[:8], "big"))

    def once(self, text: str) -> str:
        """Resolve the current wildcards once, the innermost first."""
        frames: list[list[list[str]]] = [[[]]]
        for match in _TOKEN.finditer(text):
            word = match[0]
            if word == "{":
                frames.append([[]])
                if len(frames) > MAX_DEPTH:
                    raise InputError(f"The prompt has more than {MAX_DEPTH} braces in each other.")
            elif word == "|" and len(frames) > 1:
                frames[-1].append([])
            elif word == "}" and len(frames) > 1:
                options = ["".join(option) for option in frames.pop()]
                frames[-1][-1].append(self.choose(options))
            elif len(word) > 4 and word.startswith("__") and word.endswith("__"):
                frames[-1][-1].append(self.line(word[2:-2]))
            else:
                frames[-1][-1].append(word)
        # A brace that is never closed is text.
        result = "{".join("|".join(map("".join, options)) for options in frames)
        if len(result) > MAX_RESULT and len(result) > len(text):
            raise InputError(f"With its wildcards the prompt has {len(result)} characters.")
        return result

    def choose(self, options: list[str]) -> str:
        """Choose one of several texts, or as many as the first one says."""
        count = _COUNT.match(options[0])
        if count is not None:
            options = [options[0][count.end() :], *options[1:]]
            chosen = self.generator().sample(options, k=min(int(count[1]), len(options)))
            return ", ".join(chosen)
        if len(options) == 1:
            return "{" + options[0] + "}"
        return self.generator().choice(options)

    def line(self, name: str) -> str:
        """Choose a line of a wildcard file."""
        lines = self.lines(name)
        return self.generator().choice(lines)

    def lines(self, name: str) -> list[str]:
        """Return the lines of a wildcard file without empty lines and comments."""
        path = self.folder / f"{name}.txt"
        if ".." in Path(name).parts or not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"The wildcard __{name}__ is outside the folder {self.folder}.")
        if not path.is_file():
            known = [p.relative_to(self.folder).with_suffix("").as_posix() for p in self.files()]
            close = nearest(name, known)
            hint = f"did you mean __{close}__?" if close else f"put {name}.txt into {self.folder}."
            raise InputError(f"There is no wildcard __{name}__; {hint}")
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise FileError(f"{path} is over 16 MiB, which no list of words is.")
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
        except UnicodeDecodeError:
            raise FileError(f"{path} is not UTF-8 text.") from None
        # Lists that were joined have a byte order mark in the middle, too.
        lines = [line.replace("\ufeff", "").strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise FileError(f"{path} has no line to choose.")
        return lines

    def files(self) -> list[Path]:
        """Every wildcard file."""
        return sorted(self.folder.rglob("*.txt")) if self.folder.is_dir() else []
