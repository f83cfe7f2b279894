"""The syntax of prompts that creators type: emphasis, breaks, editing over steps, LoRAs by name.

Users bring prompts from the web interface that most of them learned on; this reads them as it does.
Every function passes over the text a fixed number of times, with a stack of its own instead of
recursion, so that no prompt takes more than linear time or runs out of stack.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from animatediff.errors import InputError

MORE = 1.1
"""What round brackets multiply the weight of their text by, and square ones divide it by."""
MAX_WEIGHT = 100.0
"""Of a stretch of text, either way; a picture drowns long before."""
MAX_PARTS = 16
MAX_EDITS = 1000
"""Stretches of text that may change over the steps."""

_TOKEN = re.compile(
    r"""\\[\\()\[\]{}|]           # an escaped sign
      | :\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)  # the end of a bracket that says its weight
      | [()\[\]:\\]
      | [^()\[\]:\\]+
    """,
    re.VERBOSE,
)
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*[-+]?(?:\d{1,9}\.?\d{0,9}|\.\d{1,9})\s*")
_BREAK = re.compile(r"\bBREAK\b")
_LORA = re.compile(r"<(?:lora|lyco):([^<>]*)>")
_WHEN = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*")


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt that counts equally throughout.

    Attributes:
        text: without the signs of the syntax.
        weight: how much it counts; 1 is plain.
    """

    text: str
    weight: float = 1.0


@dataclass
class _Mark:
    """A bracket, or text, in the order of the prompt.

    Attributes:
        kind: ``(`` and ``[`` open, ``)`` and ``]`` close, ``text`` and ``break`` are neither.
        text: of the text.
        weight: what an opening round bracket says at its end, if it says it.
    """

    kind: str
    text: str = ""
    weight: float | None = None


def weighted(prompt: str) -> list[list[Piece]]:
    """The pieces of a prompt and their weights, in sections that ``BREAK`` parts.

    ``(text)`` counts 1.1 times, ``[text]`` 1/1.1 times, ``(text:1.3)`` 1.3 times; brackets multiply
    up to 100 times, one that is never closed reaches to the end, and a backslash makes a bracket
    plain text.
    """
    rounds, squares = 0, 0
    products = [1.0]
    sections: list[list[Piece]] = [[]]
    texts: list[str] = []
    last: float | None = None

    def finish() -> None:
        if texts and last is not None:
            sections[-1].append(Piece("".join(texts), last))
            texts.clear()

    for mark in _marks(prompt):
        match mark.kind:
            case "(":
                products.append(
                    _clamped(products[-1] * (1.0 if mark.weight is None else mark.weight))
                )
                rounds += mark.weight is None
            case ")":
                rounds -= mark.weight is None
                products.pop()
            case "[":
                squares += 1
            case "]":
                squares -= 1
            case "break":
                finish()
                sections.append([])
            case _:
                weight = _clamped(products[-1] * MORE ** max(-500, min(500, rounds - squares)))
                if weight != last:
                    finish()
                last = weight
                texts.append(mark.text)
    finish()
    return [section or [Piece("")] for section in sections]


def _clamped(weight: float) -> float:
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


def plain(prompt: str) -> list[list[Piece]]:
    """The whole prompt as one piece, its signs as they are."""
    return [[Piece(prompt)]]


def _marks(prompt: str) -> list[_Mark]:
    """The prompt in order; only brackets that pair are brackets, and each knows its weight."""
    marks: list[_Mark] = []
    rounds: list[_Mark] = []
    squares: list[_Mark] = []
    for match in _TOKEN.finditer(prompt):
        sign = match[0]
        weight = _number(sign[1:-1]) if sign[0] == ":" and len(sign) > 1 else None
        if sign == "(":
            rounds.append(_Mark("("))
            marks.append(rounds[-1])
        elif sign == "[":
            squares.append(_Mark("["))
            marks.append(squares[-1])
        elif rounds and (sign == ")" or weight is not None):
            rounds.pop().weight = weight
            marks.append(_Mark(")", weight=weight))
        elif squares and sign == "]":
            squares.pop()
            marks.append(_Mark("]"))
        elif sign[0] == "\\" and len(sign) > 1:
            marks.append(_Mark("text", sign[1:]))
        else:
            marks += _with_breaks(sign)
    return marks


def _with_breaks(text: str) -> list[_Mark]:
    """Text, parted where it says ``BREAK``, without the blanks around that word."""
    parts = _BREAK.split(text)
    marks: list[_Mark] = []
    for i, part in enumerate(parts):
        if i:
            marks.append(_Mark("break"))
            part = part.lstrip()
        part = part.rstrip() if i < len(parts) - 1 else part
        if part:
            marks.append(_Mark("text", part))
    return marks


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def take_loras(prompt: str) -> tuple[str, tuple[str, ...]]:
    """A prompt without its ``<lora:name:0.8>``, and those as ``name:0.8``.

    Raises:
        InputError: one has no name, or a scale that is no number.
    """
    found: list[str] = []
    for match in _LORA.finditer(prompt):
        name, *scales = match[1].split(":")
        # A second scale, for the text encoder alone, is what other programs write after the first.
        scale = scales[0].strip() if scales else "1"
        if not name.strip() or len(scales) > 2 or _number(scale) is None:
            raise InputError(
                f"The prompt says {match[0]!r:.80}, which is no LoRA; write, for example, "
                "<lora:name:0.8>."
            )
        if len(scales) == 2 and _number(scales[1]) != _number(scale):
            raise InputError(
                f"The prompt says {match[0]!r:.80}; one scale for the whole LoRA is supported."
            )
        found.append(f"{name.strip()}:{scale}")
    return (_LORA.sub("", prompt) if found else prompt), tuple(found)


def without_loras(prompt: str, names: Container[str]) -> str:
    """A prompt without the ``<lora:name:0.8>`` of these names."""

    def left(match: re.Match[str]) -> str:
        return "" if match[1].partition(":")[0].strip() in names else match[0]

    return _LORA.sub(left, prompt)


def parts_of(prompt: str) -> list[tuple[str, float]]:
    """The prompts that ``AND`` joins, each with the weight at its end, such as ``a fox :0.8``.

    Raises:
        InputError: there are more than 16, or all weights are 0.
    """
    parts = _AND.split(prompt)
    if len(parts) == 1:
        return [(prompt, 1.0)]
    if len(parts) > MAX_PARTS:
        raise InputError(f"AND joins {len(parts)} prompts, and at most {MAX_PARTS} can be joined.")
    found: list[tuple[str, float]] = []
    for part in parts:
        text, _, tail = part.rpartition(":")
        weighs = _WEIGHT.fullmatch(tail) and text
        found.append((text.strip(), _clamped(float(tail))) if weighs else (part.strip(), 1.0))
    if not any(weight for _, weight in found):
        raise InputError("Every prompt that AND joins has the weight 0; give one of them another.")
    return found


@dataclass
class _Edit:
    """Text that is one thing up to a step and another after it."""

    when: float
    is_fraction: bool
    before: list[_Item]
    after: list[_Item]

    def step(self, steps: int) -> int:
        """The last step with the text before."""
        return min(steps, int(self.when * steps if self.is_fraction else self.when))


@dataclass
class _Turns:
    """Texts that take turns, one for each step."""

    options: list[list[_Item]]


_Item: TypeAlias = "str | _Edit | _Turns | list[_Item]"
"""Text, what changes over the steps, or a stretch of both; nested, as joining would take long."""
_BAR = "|"
"""Between texts that take turns; an item by itself only directly inside a square bracket."""


@dataclass
class _Frame:
    """An open bracket, and the parts between the colons in it."""

    sign: str
    parts: list[list[_Item]] = field(default_factory=lambda: [[]])

    def literal(self, end: str = "") -> list[_Item]:
        """What it is if it is no edit: the text as it was typed."""
        first, *others = self.parts
        return [self.sign, first, *(item for part in others for item in (":", part)), end]


def scheduled(prompt: str, *, steps: int) -> list[tuple[int, str]]:
    """The texts of a prompt over the steps, each with the last step that it is for.

    ``[from:to:when]`` is one text up to a step and another after it, ``[to:when]`` begins and
    ``[from::when]`` ends there. A ``when`` below 1, or with a point, is a part of all steps.
    ``[one|other]`` takes turns: one text at the first step, the other at the second, and so on.

    Raises:
        InputError: there are more than 1000 of them.
    """
    tree = _tree(prompt)
    changes = _changes(tree)
    if len(changes) > MAX_EDITS:
        raise InputError(f"The prompt changes in {len(changes)} places, and at most 1000 may.")
    edits = [change.step(steps) for change in changes if isinstance(change, _Edit)]
    ends = sorted({step for step in edits if 0 < step < steps} | {steps})
    if len(edits) < len(changes):
        ends = list(range(1, steps + 1))
    texts = [_text_at(tree, step=end, steps=steps) for end in ends]
    kept: list[tuple[int, str]] = []
    for end, text in zip(ends, texts, strict=True):
        if kept and kept[-1][1] == text:
            kept.pop()
        kept.append((end, text))
    return kept


def _tree(prompt: str) -> list[_Item]:
    frames = [_Frame("")]
    squares = 0
    for match in _TOKEN.finditer(prompt):
        # The end of a weight is a colon, a number and a bracket like any other here.
        whole = match[0]
        for part in [":", whole[1:-1], ")"] if whole[0] == ":" and len(whole) > 1 else [whole]:
            match part:
                case "(" | "[":
                    frames.append(_Frame(part))
                    squares += part == "["
                case ":" if frames[-1].sign == "[":
                    frames[-1].parts.append([])
                case ")" if frames[-1].sign == "(":
                    frame = frames.pop()
                    frames[-1].parts[-1].append(frame.literal(")"))
                case "]" if squares:
                    squares -= 1
                    while frames[-1].sign == "(":  # never closed, and so text
                        frame = frames.pop()
                        frames[-1].parts[-1].append(frame.literal())
                    frame = frames.pop()
                    change = _turns(frame.parts) or _edit(frame.parts)
                    frames[-1].parts[-1].append(change or frame.literal("]"))
                case _ if frames[-1].sign == "[" and part[0] != "\\":
                    frames[-1].parts[-1] += re.split(r"(\|)", part)
                case _:
                    frames[-1].parts[-1].append(part)
    while len(frames) > 1:
        frame = frames.pop()
        frames[-1].parts[-1].append(frame.literal())
    return frames[0].literal()


def _turns(parts: Sequence[list[_Item]]) -> _Turns | None:
    """The texts that bars part, if there are bars and no colons."""
    if len(parts) > 1 or _BAR not in parts[0]:
        return None
    options: list[list[_Item]] = [[]]
    for item in parts[0]:
        if item == _BAR:
            options.append([])
        else:
            options[-1].append(item)
    return _Turns(options)


def _edit(parts: Sequence[list[_Item]]) -> _Edit | None:
    """The edit that the parts between colons are, if the last of them is a number."""
    last = [item for item in parts[-1] if isinstance(item, str)]
    if len(parts) not in (2, 3) or len(last) < len(parts[-1]):
        return None
    when = _WHEN.fullmatch("".join(last))
    if when is None:
        return None
    number = min(float(when[1]), 1e9)
    before, after = (parts[0], parts[1]) if len(parts) == 3 else ([], parts[0])
    return _Edit(number, number < 1 or "." in when[1], before, after)


def _changes(tree: list[_Item]) -> list[_Edit | _Turns]:
    found: list[_Edit | _Turns] = []
    todo = [tree]
    while todo:
        for item in todo.pop():
            if isinstance(item, _Edit):
                found.append(item)
                todo += [item.before, item.after]
            elif isinstance(item, _Turns):
                found.append(item)
                todo += item.options
            elif isinstance(item, list):
                todo.append(item)
    return found


def _text_at(tree: list[_Item], *, step: int, steps: int) -> str:
    pieces: list[str] = []
    todo: list[_Item] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, list):
            todo += item[::-1]
        elif isinstance(item, _Turns):
            todo.append(item.options[(step - 1) % len(item.options)])
        else:
            todo.append(item.before if step <= item.step(steps) else item.after)
    return "".join(pieces)
