"""What the denoiser attends to: the texts of a request, over its steps and over its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.keyframes import positions_of
from animatediff.sampling.prompt_syntax import scheduled, take_loras
from animatediff.sampling.prompts import Conditioning, encode_prompts
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.travel import plan_travel, travelled
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.textual_inversion import Word

MAX_TEXTS = 2000
"""Different texts of one animation, over its frames and its steps."""


@dataclass(frozen=True)
class Conditions:
    """Texts for a number of steps, as the image model takes them.

    Attributes:
        last_step: the last step, from 1, that they are for.
        states: a row for each clip of the batch: the negative prompt's, if it counts, and the prompt's;
            ``b f n d`` where the prompt changes over the frames.
        added: what SDXL is given besides.
    """

    last_step: int
    states: Float[Tensor, "b ..."]
    added: dict[str, Tensor]

    def of(self, clips: slice) -> Conditions:
        """Those of some clips of the batch."""
        added = {name: rows[clips] for name, rows in self.added.items()}
        return replace(self, states=self.states[clips], added=added)


def read_conditions(
    request: AnimationRequest, *, base: BaseModel, words: Sequence[Word]
) -> list[Conditions]:
    """The texts of a request, encoded, in the order of the steps.

    Args:
        request: with every choice filled in.
        base: the image model.
        words: learned words that the texts may name.

    Raises:
        InputError: a text is too long, or changes in too many places.
    """
    assert request.steps is not None
    assert request.num_frames is not None
    is_guided = request.guidance != 1
    keyframes = request.keyframes
    positions = positions_of(keyframes, num_frames=request.num_frames, rate=request.rate)
    typed = [(False, keyframes[key]) for key in positions]
    if is_guided:
        typed.insert(0, (True, request.negative_prompt))
    plans = [(negative, _over_steps(take_loras(text)[0], request)) for negative, text in typed]
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
        num_frames=request.num_frames,
        hold=request.hold,
        closed_loop=request.closed_loop,
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
            without = [_for_every_frame(text, request.num_frames) for text in without]
        found.append(_together([*without, *texts], end, request))
    return found


def _over_steps(text: str, request: AnimationRequest) -> list[tuple[int, str]]:
    """The text with its edits made, each version with the last step that it is for."""
    assert request.steps is not None
    if request.emphasis == "none":
        return [(request.steps, text)]
    return scheduled(text, steps=request.steps)


def _for_every_frame(text: Conditioning, num_frames: int) -> Conditioning:
    return Conditioning(
        states=repeat(text.states, "1 n d -> 1 f n d", f=num_frames),
        added={name: row.expand(num_frames, -1) for name, row in text.added.items()},
        num_tokens=text.num_tokens,
    )


def _together(
    texts: Sequence[Conditioning], last_step: int, request: AnimationRequest
) -> Conditions:
    added = {name: torch.cat([text.added[name] for text in texts]) for name in texts[0].added}
    if added:
        size = (request.height, request.width)
        # Original size, what was cropped from the top and the left, and the size to draw.
        added["time_ids"] = torch.tensor([[*size, 0, 0, *size]] * len(texts))
    return Conditions(last_step, torch.cat([text.states for text in texts]), added)
