"""Which texts an animation has: the negative prompt, the prompt, and further prompts beside it.

Row 0 is without the prompt, row 1 with it. ``AND`` joins further prompts, which have the next rows,
and the prompts of regions come last.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from animatediff.errors import InputError
from animatediff.sampling.around.composed import add_up
from animatediff.sampling.regions.options import parse_region
from animatediff.sampling.settled import Settled
from animatediff.sampling.text.keyframes import positions_of
from animatediff.sampling.text.prompt_syntax import parts_of, take_loras


@dataclass(frozen=True)
class TextRow:
    """The texts of one row.

    Attributes:
        negative: whether it is the negative prompt.
        texts: at its keyframes; a single one if nothing travels.
        positions: of its keyframes, in frames.
    """

    negative: bool
    texts: tuple[str, ...]
    positions: tuple[Fraction, ...]


def rows_of(settled: Settled) -> list[TextRow]:
    """The rows of a request, in the order of their numbers; without row 0 if nothing asks for it.

    Raises:
        InputError: the keyframes join different numbers of prompts, or weigh them differently.
    """
    request = settled.request
    keyframes = positions_of(request.keyframes, num_frames=settled.num_frames, rate=request.rate)
    weights = weights_of(settled)
    joined = [_joined(request.keyframes[key], settled) for key in keyframes]
    rows = [
        TextRow(False, tuple(texts), tuple(keyframes.values()))
        for texts in zip(*([text for text, _ in each] for each in joined), strict=True)
    ]
    if settled.is_guided or not add_up(weights):
        rows.insert(0, _negative(settled))
    regions = [parse_region(region)[0] for region in request.regions]
    return [*rows, *(TextRow(False, (text,), (Fraction(0),)) for text in regions)]


def _negative(settled: Settled) -> TextRow:
    request = settled.request
    texts = request.negative_keyframes
    positions = positions_of(texts, num_frames=settled.num_frames, rate=request.rate)
    return TextRow(
        True, tuple(take_loras(texts[key])[0] for key in positions), tuple(positions.values())
    )


def weights_of(settled: Settled) -> tuple[float, ...]:
    """How much each prompt that ``AND`` joins counts; a single 1 without it.

    Raises:
        InputError: the keyframes join different numbers of prompts, or weigh them differently.
    """
    every = {
        key: tuple(weight for _, weight in _joined(text, settled))
        for key, text in settled.request.keyframes.items()
    }
    first = next(iter(every.values()))
    for key, weights in every.items():
        if weights != first:
            raise InputError(
                f"The keyframe {key} joins other prompts by AND than the first; give every keyframe "
                "as many, with the same weights."
            )
    return first


def _joined(text: str, settled: Settled) -> list[tuple[str, float]]:
    text = take_loras(text)[0]
    return [(text, 1.0)] if settled.request.emphasis == "none" else parts_of(text)
