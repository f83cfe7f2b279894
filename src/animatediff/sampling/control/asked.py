"""An ask as a control network takes it: frames folded into the batch, with the text of each."""

from __future__ import annotations

import torch
from einops import rearrange

from animatediff.model.control.network import Question
from animatediff.model.folded import row_per_frame, text_per_frame, timestep_per_frame
from animatediff.sampling.ask import Ask
from animatediff.sampling.text.conditions import Texts


def question_of(ask: Ask, texts: Texts, *, dtype: torch.dtype) -> Question:
    """The question that a control network is asked.

    Args:
        ask: what the image model is asked.
        texts: the prompts of the animation; image prompts are not a control network's.
        dtype: in which the network computes.
    """
    clips, _, frames, _, _ = ask.latents.shape
    states, added = texts.at(ask)
    return Question(
        latents=rearrange(ask.latents.to(dtype), "b c f h w -> (b f) c h w").contiguous(),
        timestep=timestep_per_frame(ask.timestep, clips=clips, frames=frames),
        text=text_per_frame(states.to(dtype), clips=clips, frames=frames),
        added={
            name: row_per_frame(value.to(dtype), clips=clips, frames=frames, what=name)
            for name, value in added.items()
        },
        num_frames=frames,
    )
