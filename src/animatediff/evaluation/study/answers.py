"""A participant's answers: checked down to every rank, with the videos' methods put back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, reason_of
from animatediff.evaluation.study.design import ANSWERS, ASPECTS, Study

MOST_BYTES = 1 << 20
"""Of one participant's answers."""
FIXTURE = "fixture-"
"""Participants whose name starts so were made up for a test; reports say so."""
_NAME = re.compile(r"[a-z0-9-]{4,40}")


@dataclass(frozen=True)
class Participant:
    """One participant.

    Attributes:
        name: random.
        attentive: whether the attention check was passed.
        ranks: rank of each method, by item and aspect; 1 is best.
    """

    name: str
    attentive: bool
    ranks: Mapping[str, Mapping[str, Mapping[str, int]]]


def read_answers(text: str | bytes, study: Study, *, source: str) -> Participant:
    """Check the answers of one participant.

    Args:
        text: JSON, as the page writes it; bytes are UTF-8.
        study: the study with its key.
        source: starts the messages.

    Raises:
        FileError: they are broken, incomplete, or belong to another study.
    """
    if len(text) > MOST_BYTES:
        raise FileError(f"{source} has more than {MOST_BYTES >> 20} MiB; these are no answers.")
    try:
        written = text if isinstance(text, str) else text.decode("utf-8-sig")
        content: Any = json.loads(written)
        name, answers = str(content["participant"]), list(content["answers"])
        belongs = content["study"] == study.name
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FileError(f"{source} does not contain answers of a study.") from None
    if not belongs:
        raise FileError(f"{source} belongs to another study than {study.name}.")
    if not _NAME.fullmatch(name):
        raise FileError(f"{source} names a participant {name!r:.50}, which the page never does.")
    ranks: dict[str, dict[str, dict[str, int]]] = {}
    videos = {item.name: item.methods for item in study.items}
    attentive = False
    for answer in answers:
        item, shown, given = _answer(answer, source=source)
        known = videos.get(study.check if item == "check" else item)
        if known is None:
            raise FileError(f"{source} answers an item that the study does not have.")
        if sorted(shown) != sorted(known):
            raise FileError(f"{source} ranks other videos than the study shows.")
        if item == "check":
            in_order = list(range(1, len(shown) + 1))
            attentive = all(given[aspect] == in_order for aspect in ASPECTS)
            continue
        if item in ranks:
            raise FileError(f"{source} answers an item twice.")
        ranks[item] = {
            aspect: {known[video]: rank for video, rank in zip(shown, given[aspect], strict=True)}
            for aspect in ASPECTS
        }
    missing = len(study.items) - len(ranks)
    if missing:
        raise FileError(f"{source} lacks the answers to {missing} of {len(study.items)} items.")
    return Participant(name, attentive, ranks)


def _answer(answer: Any, *, source: str) -> tuple[str, list[str], dict[str, list[int]]]:
    try:
        item, shown = str(answer["item"]), [str(video) for video in answer["shown"]]
        given = {aspect: list(answer["ranks"][aspect]) for aspect in ASPECTS}
    except (KeyError, TypeError, RecursionError):
        raise FileError(f"{source} has an answer without ranks.") from None
    for ranks in given.values():
        if any(type(rank) is not int for rank in ranks):
            raise FileError(f"{source} has a rank that is not a whole number.")
        if sorted(ranks) != list(range(1, len(shown) + 1)):
            raise FileError(f"{source} has ranks that are not each given once.")
    return item, shown, given


def collected(folder: Path, study: Study) -> list[Participant]:
    """Return all participants of a study's folder, in the order of their names.

    Raises:
        FileError: an answer is broken.
    """
    paths = sorted((folder / ANSWERS).glob("*.json"))
    return [read_answers(read_file(path), study, source=str(path)) for path in paths]


def read_file(path: Path) -> bytes:
    """Read a file with answers.

    Raises:
        FileError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
