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
from animatediff.sampling.keyframes import positions_of
from animatediff.sampling.prompt_syntax import scheduled, take_loras
from animatediff.sampling.prompts import Conditioning, encode_prompts
from animatediff.sampling.settled import Settled
from animatediff.sampling.travel import plan_travel, travelled
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
            if there is no guidance.
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
        parts = [
            replace(
                part,
                states=part.states.to(dtype),
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
    keyframes = request.keyframes
    positions = positions_of(keyframes, num_frames=settled.num_frames, rate=request.rate)
    typed = [(False, keyframes[key]) for key in positions]
    if settled.is_guided:
        typed.insert(0, (True, request.negative_prompt))
    plans = [(negative, _over_steps(take_loras(text)[0], settled)) for negative, text in typed]
    # All are encoded together, so that all have as many chunks.
    distinct = list(dict.fromkeys((negative, text) for negative, plan in plans for _, text in plan))
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
    blends = plan_travel(
        list(positions.values()),
        num_frames=settled.num_frames,
        hold=request.hold,
        closed_loop=request.closed_loop or request.loop,
    )
    found: list[Conditions] = []
    for end in sorted({end for _, plan in plans for end, _ in plan}):
        now = [
            (negative, known[negative, next(text for last, text in plan if end <= last)])
            for negative, plan in plans
        ]
        without = [text for negative, text in now if negative]
        texts = [text for negative, text in now if not negative]
        if request.prompts:
            texts = [travelled(texts, blends, interpolation=request.interpolation)]
            without = [_for_every_frame(text, settled.num_frames) for text in without]
        found.append(_together([*without, *texts], end, settled))
    return Texts(tuple(found), first_row=0 if settled.is_guided else 1)


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


def _together(texts: Sequence[Conditioning], last_step: int, settled: Settled) -> Conditions:
    """Stack the rows of several texts."""
    added = {name: [text.added[name] for text in texts] for name in texts[0].added}
    # For every frame, each text is one row of many; otherwise it is one row by itself.
    together = torch.stack if settled.request.prompts else torch.cat
    rows = {name: together(values) for name, values in added.items()}
    if rows:
        size = (settled.height, settled.width)
        # Original size, what was cropped from the top and the left, and the size to draw.
        rows["time_ids"] = torch.tensor([[*size, 0, 0, *size]] * len(texts))
    return Conditions(last_step, torch.cat([text.states for text in texts]), rows)
