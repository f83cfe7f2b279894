"""What a study shows: items with videos under opaque names, and the key that names their methods."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatediff.config import from_table
from animatediff.errors import FileError, InputError
from animatediff.evaluation.presenting.html_page import write_text
from animatediff.evaluation.reports import as_json
from animatediff.evaluation.table1.page import media_name
from animatediff.evaluation.table1.report import FROZEN, REAL

ASPECTS = ("text", "domain", "smooth")
QUESTIONS = {
    "text": "Which video matches the description best?",
    "domain": "Which video looks most like the reference pictures?",
    "smooth": "Which video moves most smoothly and naturally?",
}
CHECK = (
    "Attention check. Ignore the videos. For every question, rank the first video 1, the second 2, "
    "and so on."
)
KEY = "key.json"
ANSWERS = "answers"
PAGE = "study.html"


@dataclass(frozen=True)
class StudyItem:
    """One page of the study.

    Attributes:
        name: opaque.
        prompt: shown to the participant.
        references: file with reference pictures, relative to the animations' folder.
        videos: file of each video by its opaque name.
        methods: method of each video by its opaque name.
        model: the personalised model.
        index: the prompt's number.
    """

    name: str
    prompt: str
    references: str
    videos: Mapping[str, str]
    methods: Mapping[str, str]
    model: str
    index: int


@dataclass(frozen=True)
class Study:
    """A study with its key.

    Attributes:
        name: opaque; answers say to which study they belong.
        methods: what is ranked.
        items: pages, without the attention check.
        check: the item whose videos the attention check shows.
        seed: of the choice of prompts.
    """

    name: str
    methods: tuple[str, ...]
    items: tuple[StudyItem, ...]
    check: str
    seed: int


def design_study(
    content: Mapping[str, Any], *, per_model: int, methods: Sequence[str] = (), seed: int = 0
) -> Study:
    """Choose what a study shows from the results of Table 1.

    Args:
        content: what ``evaluate table1`` wrote.
        per_model: prompts of each personalised model.
        methods: which are ranked; by default all that were drawn.
        seed: of the choice of prompts.

    Raises:
        InputError: fewer than two methods, or no prompt that all of them drew.
    """
    report = content["report"]
    drawn = [name for name in report["overall"] if name not in (FROZEN, REAL)]
    unknown = [name for name in methods if name not in drawn]
    if unknown:
        raise InputError(f"Table 1 has no method {unknown[0]!r}, only {', '.join(drawn)}.")
    chosen = tuple(dict.fromkeys(methods)) or tuple(drawn)
    if len(chosen) < 2:
        known = ", ".join(drawn)
        raise InputError(f"A study ranks at least two methods, not only one; Table 1 has {known}.")
    if per_model < 1:
        raise InputError(f"A study needs at least one prompt for each model, not {per_model}.")
    secret = secrets.token_hex(16)

    def opaque(*parts: object) -> str:
        text = "/".join(map(str, (secret, *parts)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    have = {(c["method"], c["model"], c["index"]) for c in report["clips"]}
    items: list[StudyItem] = []
    for model in report["plan"]["models"]:
        name, prompts = model["name"], model["prompts"]
        whole = [i for i in range(len(prompts)) if all((m, name, i) in have for m in chosen)]
        order = sorted(whole, key=lambda i, n=name: _digest(seed, n, i))
        for index in sorted(order[:per_model]):
            videos = {opaque(name, index, m): media_name(name, index, m) for m in chosen}
            methods_of = {opaque(name, index, m): m for m in chosen}
            items.append(
                StudyItem(
                    name=opaque(name, index),
                    prompt=prompts[index],
                    references=media_name(name, index, "references"),
                    videos=dict(sorted(videos.items())),
                    methods=dict(sorted(methods_of.items())),
                    model=name,
                    index=index,
                )
            )
    if not items:
        raise InputError("No prompt of Table 1 was drawn by all methods; draw or bring the rest.")
    items.sort(key=lambda item: item.name)
    return Study(opaque("study")[:8], chosen, tuple(items), items[0].name, seed)


def save_key(study: Study, folder: Path) -> Path:
    """Write the key. Participants must not see it.

    Raises:
        OutputError: it cannot be written.
    """
    return write_text(json.dumps(as_json(study), indent=1, ensure_ascii=False), folder / KEY)


def load_key(folder: Path) -> Study:
    """Read the study of a folder.

    Raises:
        FileError: the folder has none.
    """
    path = folder / KEY
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return from_table(table, Study, source=str(path))
    except (OSError, ValueError):
        raise FileError(
            f"{folder} is not a study's folder; make one with `animatediff study make`."
        ) from None


def _digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
