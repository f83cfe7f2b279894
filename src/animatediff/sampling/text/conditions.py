"""Text conditioning of an animation, for every row, frame and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.ask import Ask
from animatediff.sampling.settled import Settled
from animatediff.sampling.text.prompt_syntax import scheduled
from animatediff.sampling.text.prompts import Conditioning, encode_prompts
from animatediff.sampling.text.text_rows import TextRow, rows_of
from animatediff.sampling.text.travel import plan_travel, travelled
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.textual_inversion import Word

MAX_TEXTS = 2000
"""Different texts of one animation, over its frames and its steps."""


@dataclass(frozen=True)
class Conditions:
    """Text conditioning of consecutive steps.

    Attributes:
        last_step: the last of these steps, from 1.
        states: the text encoder's states of each row, ``r n d``; ``r f n d`` if the prompt changes
            over the frames.
        added: SDXL's further conditioning of each row, ``r p``; ``text_embeds`` is ``r f p`` if the
            prompt changes over the frames.
    """

    last_step: int
    states: Float[Tensor, "r ..."]
    added: Mapping[str, Tensor]


@dataclass(frozen=True)
class Texts:
    """Text conditioning of an animation; ``at`` returns the part for an ask.

    Attributes:
        parts: in the order of the steps.
        first_row: number of the tensors' first row: 0 (without the prompt), or 1 (with the prompt)
            if nothing needs the prediction without it.
    """

    parts: tuple[Conditions, ...]
    first_row: int

    def at(self, ask: Ask) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the text states and SDXL's further conditioning for an ask.

        States are ``b n d``, or ``b f n d`` if the prompt changes over the frames. The rest has a row
        for each clip, or for each frame of each clip, ``(b f) p``.
        """
        now = next((part for part in self.parts if ask.step < part.last_step), self.parts[-1])
        rows = slice(ask.rows.start - self.first_row, ask.rows.stop - self.first_row)
        states = now.states[rows]
        if states.ndim == 4:
            states = states[:, ask.frames]
        added = {name: value[rows] for name, value in now.added.items()}
        for name, value in added.items():
            if value.ndim == 3:
                added[name] = rearrange(value[:, ask.frames], "b f p -> (b f) p")
        return states, added

    def to(self, dtype: torch.dtype) -> Texts:
        """Convert the tensors to another type."""
        states = {id(part.states): part.states for part in self.parts}
        cast = {name: each.to(dtype) for name, each in states.items()}
        parts = [
            replace(
                part,
                states=cast[id(part.states)],
                added={
                    name: value.to(part.states.device, dtype) for name, value in part.added.items()
                },
            )
            for part in self.parts
        ]
        return replace(self, parts=tuple(parts))


def read_texts(settled: Settled, *, base: BaseModel, words: Sequence[Word]) -> Texts:
    """Encode the texts of a request.

    Args:
        settled: the request.
        base: the image model.
        words: learned words that the texts may name.

    Raises:
        InputError: a text is too long, or changes in too many places.
    """
    request = settled.request
    rows = rows_of(settled)
    plans = {text: _over_steps(text, settled) for row in rows for text in row.texts}
    # All are encoded together, so that all have as many chunks.
    distinct = list(
        dict.fromkeys(
            (row.negative, text) for row in rows for key in row.texts for _, text in plans[key]
        )
    )
    if len(distinct) > MAX_TEXTS:
        raise InputError(
            f"Over its frames and steps the prompt is {len(distinct)} different texts, "
            f"and at most {MAX_TEXTS} can be."
        )
    encoded = encode_prompts(
        [text for _, text in distinct],
        base=base,
        words=words,
        clip_skip=request.clip_skip,
        emphasis=request.emphasis,
        is_negative=[negative for negative, _ in distinct],
    )
    known = dict(zip(distinct, encoded, strict=True))
    travels = any(len(row.texts) > 1 for row in rows) or bool(request.prompts)
    # Texts that take turns come back, so what was put together is looked up.
    together: dict[tuple[tuple[str, ...], ...], Conditions] = {}
    found: list[Conditions] = []
    for end in sorted({end for plan in plans.values() for end, _ in plan}):
        now = tuple(
            tuple(next(text for last, text in plans[key] if end <= last) for key in row.texts)
            for row in rows
        )
        if now not in together:
            texts = [
                _of_row(row, [known[row.negative, text] for text in typed], settled, travels)
                for row, typed in zip(rows, now, strict=True)
            ]
            together[now] = _together(texts, end, settled, travels=travels)
        found.append(replace(together[now], last_step=end))
    return Texts(tuple(found), first_row=0 if rows[0].negative else 1)


def _of_row(
    row: TextRow, texts: Sequence[Conditioning], settled: Settled, travels: bool
) -> Conditioning:
    """The text of a row; one for each frame if any row travels."""
    if not travels:
        return texts[0]
    request = settled.request
    if len(texts) == 1:
        return _for_every_frame(texts[0], settled.num_frames)
    blends = plan_travel(
        row.positions,
        num_frames=settled.num_frames,
        hold=request.hold,
        closed_loop=request.closed_loop or request.loop,
    )
    return travelled(texts, blends, interpolation=request.interpolation)


def _over_steps(text: str, settled: Settled) -> list[tuple[int, str]]:
    """Return the versions of an edited text, each with its last step."""
    if settled.request.emphasis == "none":
        return [(settled.steps, text)]
    return scheduled(text, steps=settled.steps)


def _for_every_frame(text: Conditioning, num_frames: int) -> Conditioning:
    return Conditioning(
        states=repeat(text.states, "1 n d -> 1 f n d", f=num_frames),
        added={name: row.expand(num_frames, -1) for name, row in text.added.items()},
        num_tokens=text.num_tokens,
    )


def _together(
    texts: Sequence[Conditioning], last_step: int, settled: Settled, *, travels: bool
) -> Conditions:
    """Stack the rows of several texts."""
    added = {name: [text.added[name] for text in texts] for name in texts[0].added}
    # For every frame, each text is one row of many; otherwise it is one row by itself.
    together = torch.stack if travels else torch.cat
    rows = {name: together(values) for name, values in added.items()}
    if rows:
        size = (settled.height, settled.width)
        # Original size, what was cropped from the top and the left, and the size to draw.
        rows["time_ids"] = torch.tensor([[*size, 0, 0, *size]] * len(texts))
    return Conditions(last_step, torch.cat([text.states for text in texts]), rows)
