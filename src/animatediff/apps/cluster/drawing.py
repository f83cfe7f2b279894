"""Draw a batch's plan through Ray Data: one actor for each device, each with a loaded model.

Files are encoded by the driver, as on one machine, so that they are the same bytes. The plan is the
record of what is done, so a driver that dies resumes too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from animatediff.apps.cluster.joining import (
    ClusterOptions,
    Failed,
    connected,
    packed,
    places_of,
    unpacked,
    versions_here,
)
from animatediff.apps.cluster.stream import Stream
from animatediff.apps.failures import explain
from animatediff.apps.many.estimate import Pace, spoken, work_of
from animatediff.apps.many.plan import Item, Plan
from animatediff.apps.many.work import Drawn, Outcome
from animatediff.apps.options.machine import runtime_of
from animatediff.apps.progress import Progress, Quiet
from animatediff.errors import FileError, InputError, MemoryLimitError, NumericalError
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

if TYPE_CHECKING:
    from animatediff.model.fast.linear_library import Library


class Drawer:
    """The actor: draws requests that arrive as JSON, and keeps the model of the last one.

    Args:
        machine: how it runs the model.
        libraries: that the driver uses for linear layers, so that all round alike.
    """

    def __init__(self, machine: ClusterOptions, libraries: Mapping[str, Library]) -> None:
        from animatediff.apps.many.studio import Studio
        from animatediff.model.fast.linear_library import take_over

        take_over(libraries)
        self._draw = Studio(runtime_of(machine), Quiet())

    def hello(self) -> bytes:
        """The versions of this process."""
        return packed(versions_here())

    def draw(self, request: str) -> bytes:
        """The animation of a request, or why there is none."""
        try:
            drawn = self._draw(AnimationRequest.from_json(request))
        except (InputError, FileError, MemoryLimitError, NumericalError) as error:
            code, sentence = explain(error)
            return packed({"failed": sentence, "code": code})
        return packed_drawing(drawn)


def packed_drawing(drawn: Drawn) -> bytes:
    """An animation as bytes."""
    head = {
        "shape": drawn.video.frames.shape,
        "fps": str(drawn.video.fps),
        "metadata": drawn.metadata,
        "request": drawn.request.to_json(),
    }
    return packed(head, drawn.video.frames.tobytes())


def unpacked_drawing(data: bytes | memoryview) -> Drawn | Failed:
    """The animation, or the failure, that an actor sent."""
    head, body = unpacked(data)
    if "failed" in head:
        return Failed(head["failed"], head["code"])
    frames = np.frombuffer(body, np.uint8).reshape(head["shape"])
    request = AnimationRequest.from_json(head["request"])
    return Drawn(Video(frames, Fraction(head["fps"])), head["metadata"], request)


def work_on_cluster(
    items: Sequence[Item],
    *,
    plan: Plan,
    options: ClusterOptions,
    progress: Progress,
    after: Callable[[Outcome], None],
    make: Callable[..., Any] = Drawer,
) -> Outcome:
    """Draw and publish items on a cluster; otherwise as ``work_through``.

    Args:
        items: the plan's pending items.
        plan: says where files go.
        options: of the cluster.
        progress: called for every file and every failure.
        after: called after every item.
        make: the class of the actors.

    Raises:
        InputError: the cluster cannot be used.
        OutputError: the folder cannot be written any more.
    """
    outcome, pace = Outcome(), Pace()
    left = {item.number: item for item in items}
    like: AnimationRequest | None = None
    last = time.monotonic()
    from animatediff.model.fast.linear_library import choices_here

    ray = connected(options)
    precision = _precision(has_gpus=places_of(ray, options).gpu > 0)
    progress.tell("cluster", f"Drawing on the Ray cluster {options.address}.", asdict(options))
    stream = Stream(ray, options, make, (options, choices_here()))
    tasks = {item.number: _sent(item.request, precision) for item in items}
    with contextlib.closing(stream.results(tasks)) as results:
        for number, data in results:
            item = left.pop(number)
            result = unpacked_drawing(data)
            if isinstance(result, Failed):
                outcome.failures[item.number] = (result.sentence, result.code)
                text = f"{item.source} failed: {result.sentence}"
                progress.tell("failed", text, {"source": item.source, "exit_code": result.code})
            else:
                written = plan.publish(item, result.video, metadata=result.metadata)
                # Between two results of the whole cluster, so that the remaining time is its own.
                now = time.monotonic()
                outcome.seconds[item.number], last = now - last, now
                like = like or result.request
                pace.add(outcome.seconds[item.number], work_of(result.request, like=like))
                seconds = pace.time_for(sum(work_of(i.request, like=like) for i in left.values()))
                rest = f"; about {spoken(seconds)} left" if left else ""
                count = len(items) - len(left)
                for path in written:
                    facts = {"path": str(path), "done": count, "total": len(items)}
                    text = f"{path} ({count} of {len(items)}{rest})"
                    progress.tell("written", text, {**facts, "seconds_left": round(seconds, 1)})
            after(outcome)
    return outcome


def _precision(*, has_gpus: bool) -> Literal["auto", "fp32", "bf16"]:
    """What ``auto`` means to actors. On CPUs it is measured: the driver's result holds for all."""
    import torch

    from animatediff.runtime import computes_bf16

    if has_gpus:
        return "auto"
    return "bf16" if computes_bf16(torch.device("cpu")) else "fp32"


def _sent(request: AnimationRequest, precision: Literal["auto", "fp32", "bf16"]) -> str:
    if request.precision == "auto":
        request = replace(request, precision=precision)
    return request.to_json()
