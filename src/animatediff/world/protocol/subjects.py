"""Subjects of the evaluations, how they are chosen, and who draws them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from jaxtyping import UInt8

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.kept.animations import KeptAnimations
from animatediff.evaluation.motion_metrics import FLOW_RATE
from animatediff.runtime import seeded

if TYPE_CHECKING:
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest

Seen = TypeVar("Seen")
Frames = UInt8[np.ndarray, "frames height width 3"]


class Draw(Protocol):
    """A model: draws frames on white from a prompt and a seed."""

    def __call__(self, prompt: str, *, seed: int) -> Frames:
        """Frames at 8 a second."""
        ...


Watch = Callable[[int, int], None]
"""Told after each item how many are done, and of how many."""


def drawn_by(
    animator: Animator, *, template: AnimationRequest, kept: KeptAnimations | None = None
) -> Draw:
    """Return a ``Draw`` that uses an animator with ``template``, except for prompt and seed.

    Args:
        animator: the loaded model.
        template: the request without prompt and seed.
        kept: folder of cached drawings; ``None`` draws each again.

    Raises:
        InputError: the template's frame rate is not the real clips'.
    """
    if template.num_frames != 1 and template.rate != FLOW_RATE:
        raise InputError(f"Real clips run at {FLOW_RATE} fps; ask for fps={FLOW_RATE}.")

    def draw(prompt: str, *, seed: int) -> Frames:
        request = dataclasses.replace(template, prompt=prompt, seed=seed)
        return kept.frames(animator, request) if kept else animator.animate(request).video.frames

    return draw


@dataclass(frozen=True)
class Subject:
    """A subject: a concept in a style.

    Attributes:
        hexcode: the concept.
        label: its name.
        style: the style's name.
        prompt: the model's prompt.
        split: ``train``, ``val`` or ``test``.
        seed: of the drawing; the same concept has the same seed for every model.
    """

    hexcode: str
    label: str
    style: str
    prompt: str
    split: str
    seed: int

    @classmethod
    def of(cls, sample: Sample, *, seed: int) -> Subject:
        """Make the subject of a still or clip, with its caption as prompt."""
        meta = sample.meta
        code = str(meta["hexcode"])
        return cls(
            hexcode=code,
            label=str(meta["label"]),
            style=str(meta["style"]),
            prompt=str(meta["caption"]),
            split=str(meta["split"]),
            seed=int(hashlib.sha256(f"{seed}/{code}".encode()).hexdigest()[:7], 16),
        )


def nobody(done: int, total: int) -> None:
    """Ignore progress."""


def seen_in_each(
    draw: Draw, subjects: Sequence[Subject], see: Callable[[Frames], Seen], *, watch: Watch = nobody
) -> tuple[Seen, ...]:
    """Measure a model's drawing of every subject."""
    seen: list[Seen] = []
    for index, subject in enumerate(subjects):
        seen.append(see(draw(subject.prompt, seed=subject.seed)))
        watch(index + 1, len(subjects))
    return tuple(seen)


def sampled(subjects: Sequence[Subject], *, limit: int | None, seed: int) -> tuple[Subject, ...]:
    """Choose at most ``limit`` subjects at random."""
    if limit is None or limit >= len(subjects):
        return tuple(subjects)
    order = np.random.default_rng(seeded("choose", seed).initial_seed()).permutation(len(subjects))
    return tuple(subjects[index] for index in sorted(order[:limit]))
