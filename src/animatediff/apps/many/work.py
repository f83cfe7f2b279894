"""Draw what a plan has not drawn yet; one failure does not stop the others.

``draw`` is any function from a request to an animation, so that this loop also serves a queue, or
several machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from animatediff.apps.failures import explain
from animatediff.apps.many.estimate import Pace, spoken, work_of
from animatediff.apps.many.plan import Item, Plan
from animatediff.apps.progress import Progress
from animatediff.errors import FileError, InputError, MemoryLimitError, NumericalError
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video


@dataclass(frozen=True)
class Drawn:
    """What a drawer returns.

    Attributes:
        video: the frames.
        metadata: what is stored with them.
        request: with every choice made.
    """

    video: Video
    metadata: dict[str, str]
    request: AnimationRequest


class Draw(Protocol):
    """Draws the animation of a request."""

    def __call__(self, request: AnimationRequest) -> Drawn:
        """The animation."""
        ...


@dataclass
class Outcome:
    """What happened to the items of a plan.

    Attributes:
        seconds: how long each item took that was drawn now, by number.
        failures: the sentence and the exit code of each item that could not be drawn, by number.
    """

    seconds: dict[int, float] = field(default_factory=dict[int, float])
    failures: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])


def work_through(
    items: Sequence[Item],
    *,
    plan: Plan,
    draw: Draw,
    pace: Pace,
    progress: Progress,
    after: Callable[[Outcome], None],
) -> Outcome:
    """Draw and publish items in order.

    Args:
        items: the plan's pending items, in the order in which they are drawn.
        plan: says where files go.
        draw: draws one.
        pace: what was measured so far; every finished item adds to it.
        progress: called for every file and every failure, with the remaining time.
        after: called after every item.

    Raises:
        OutputError: the folder cannot be written any more; the following items would fail as well.
        Cancelled, KeyboardInterrupt: the user stopped; what is written stays.
    """
    outcome = Outcome()
    like: AnimationRequest | None = None
    for index, item in enumerate(items):
        started = time.monotonic()
        try:
            drawn = draw(item.request)
        except (InputError, FileError, MemoryLimitError, NumericalError) as error:
            code, sentence = explain(error)
            outcome.failures[item.number] = (sentence, code)
            text = f"{index + 1} of {len(items)} failed ({item.source}): {sentence}"
            progress.tell("failed", text, {"source": item.source, "exit_code": code})
        else:
            written = plan.publish(item, drawn.video, metadata=drawn.metadata)
            seconds = time.monotonic() - started
            outcome.seconds[item.number] = seconds
            like = like or drawn.request
            pace.add(seconds, work_of(drawn.request, like=like))
            left = pace.time_for(sum(work_of(i.request, like=like) for i in items[index + 1 :]))
            for path in written:
                _tell(progress, path, index, len(items), left)
        after(outcome)
    return outcome


def _tell(progress: Progress, path: Path, index: int, count: int, left: float) -> None:
    rest = f"; about {spoken(left)} left" if index + 1 < count else ""
    facts = {"path": str(path), "done": index + 1, "total": count, "seconds_left": round(left, 1)}
    progress.tell("written", f"{path} ({index + 1} of {count}{rest})", facts)
