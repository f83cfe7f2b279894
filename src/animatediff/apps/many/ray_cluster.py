"""Draw a plan on a Ray cluster: one actor for each device, each with a loaded model.

The driver hands out requests, at most two to an actor at a time, and publishes each animation as it
arrives, so that memory does not grow with the plan. Files are encoded by the driver, as on one
machine, so that they are the same bytes. If an actor or its node dies, its requests go back to the
front and the actor is started again where there is room; the plan itself is the record of what is
done, so a driver that dies resumes too.

Requests travel as JSON and animations as plain bytes: the driver unpickles nothing that a worker
sent. Ray itself trusts everybody who can reach it, so a token is required (``RAY_AUTH_MODE=token``).
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from animatediff.apps.failures import explain
from animatediff.apps.many.estimate import Pace, spoken, work_of
from animatediff.apps.many.plan import Item, Plan
from animatediff.apps.many.work import Drawn, Outcome
from animatediff.apps.progress import Progress
from animatediff.errors import FileError, InputError, MemoryLimitError, NumericalError
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

IN_HAND = 2
"""Requests that an actor has at a time: one that it draws, and the next."""
MOST_DEATHS = 3
"""Actors that a request may take with it before it counts as failed."""
START_SECONDS = 600.0
"""How long to wait for a first actor, or for another when all have died."""
LOOK_SECONDS = 1.0
AUTH = "RAY_AUTH_MODE"


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and how many actors.

    Attributes:
        address: of the cluster; ``auto`` for the one of this machine, ``local`` to start one.
        workers: actors; 0 for one for each GPU of the cluster, or for each node without GPUs.
        device: of an actor: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of an actor; all that it was given if ``None``.
    """

    address: str
    workers: int = 0
    device: str = "auto"
    threads: int | None = None


class ClusterWorker:
    """The actor: draws requests that arrive as JSON, and keeps the model of the last one."""

    def __init__(self, device: str, threads: int | None) -> None:
        from animatediff.apps.many.studio import Studio
        from animatediff.apps.progress import Quiet
        from animatediff.runtime import Runtime

        self._draw = Studio(Runtime(device=device, threads=threads), Quiet())

    def hello(self) -> bytes:
        """What the driver compares with itself before it hands out work, as JSON."""
        return json.dumps(facts_of_this_process()).encode()

    def draw(self, request: str) -> bytes:
        """The animation of a request, or why there is none, as ``packed`` writes them."""
        try:
            drawn = self._draw(AnimationRequest.from_json(request))
        except (InputError, FileError, MemoryLimitError, NumericalError) as error:
            code, sentence = explain(error)
            return packed({"failed": sentence, "code": code})
        head = {
            "shape": drawn.video.frames.shape,
            "fps": str(drawn.video.fps),
            "metadata": drawn.metadata,
            "request": drawn.request.to_json(),
        }
        return packed(head, drawn.video.frames.tobytes())


def facts_of_this_process() -> dict[str, str]:
    """The versions that decide the bytes of an animation."""
    from animatediff.sampling.metadata import versions

    return versions()


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """JSON and bytes in one: the length of the JSON in 8 bytes, the JSON, the bytes."""
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpacked(data: bytes) -> Drawn | tuple[str, int]:
    """The animation, or the sentence and the exit code of the failure, that ``packed`` wrote."""
    (length,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + length])
    if "failed" in head:
        return head["failed"], head["code"]
    frames = np.frombuffer(data, np.uint8, offset=8 + length).reshape(head["shape"])
    request = AnimationRequest.from_json(head["request"])
    return Drawn(Video(frames, Fraction(head["fps"])), head["metadata"], request)


def connected(options: ClusterOptions) -> Any:
    """Ray, connected to a cluster.

    Raises:
        InputError: Ray is not installed, the cluster does not answer, or it asks for no token.
    """
    if os.environ.setdefault(AUTH, "token") != "token":
        raise InputError(
            f"{AUTH} is {os.environ[AUTH]!r:.40}: without a token, whoever reaches the cluster runs "
            "programs on it. Unset it, or set it to token."
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise InputError("Ray is not installed; pip install 'animatediff[ray]'.") from None
    if not ray.is_initialized():
        try:
            ray.init(
                address=options.address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **({"include_dashboard": False} if options.address == "local" else {}),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"The Ray cluster {options.address} cannot be joined ({reason:.200}); start it with "
                "`RAY_AUTH_MODE=token ray start --head`, and give its address."
            ) from None
    return ray


@dataclass
class _Actor:
    """An actor, and what it has in hand."""

    handle: Any
    ready: bool = False
    items: list[Item] = field(default_factory=list[Item])


@dataclass
class Dispatch:
    """Hands items to actors and takes animations back.

    Attributes:
        ray: the module, connected.
        options: of the cluster.
        make: makes the class of the actors; tests give another than ``ClusterWorker``.
    """

    ray: Any
    options: ClusterOptions
    make: Callable[..., Any] = ClusterWorker
    _actors: list[_Actor] = field(default_factory=list[_Actor])
    _waiting: dict[Any, tuple[_Actor, Item | None]] = field(
        default_factory=dict[Any, tuple[_Actor, Item | None]]
    )
    _deaths: dict[int, int] = field(default_factory=dict[int, int])

    def run(
        self,
        items: Sequence[Item],
        *,
        done: Callable[[Item, Drawn], None],
        failed: Callable[[Item, str, int], None],
    ) -> None:
        """Draw items in any order; each ends in one call of ``done`` or ``failed``.

        Raises:
            InputError: no actor came up, or a worker runs other versions than this process.
        """
        left = deque(items)
        alive = time.monotonic()
        for _ in range(min(len(left), self._count())):
            self._start()
        try:
            while left or any(item for _, item in self._waiting.values()):
                self._hand_out(left)
                ready, _ = self.ray.wait(
                    list(self._waiting), num_returns=1, timeout=LOOK_SECONDS, fetch_local=True
                )
                for reference in ready:
                    self._take(reference, left, done=done, failed=failed)
                if any(actor.ready for actor in self._actors):
                    alive = time.monotonic()
                elif time.monotonic() - alive > START_SECONDS:
                    raise InputError(
                        f"No worker of the Ray cluster came up within {START_SECONDS:g} s; look at "
                        "ray status."
                    )
        finally:
            for actor in self._actors:
                self.ray.kill(actor.handle)

    def _count(self) -> int:
        if self.options.workers:
            return self.options.workers
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        gpus = sum(int(node["Resources"].get("GPU", 0)) for node in nodes)
        return gpus if gpus and self.options.device != "cpu" else max(1, len(nodes))

    def _start(self) -> None:
        gpus = self.ray.cluster_resources().get("GPU", 0) and self.options.device != "cpu"
        remote = self.ray.remote(self.make).options(
            num_cpus=1, num_gpus=1 if gpus else 0, scheduling_strategy="SPREAD"
        )
        actor = _Actor(remote.remote(self.options.device, self.options.threads))
        self._actors.append(actor)
        self._waiting[actor.handle.hello.remote()] = (actor, None)

    def _hand_out(self, left: deque[Item]) -> None:
        # The actor with the least in hand comes first, so that the last items are spread.
        for room in range(IN_HAND):
            for actor in self._actors:
                if left and actor.ready and len(actor.items) == room:
                    item = left.popleft()
                    actor.items.append(item)
                    reference = actor.handle.draw.remote(item.request.to_json())
                    self._waiting[reference] = (actor, item)

    def _take(
        self,
        reference: Any,
        left: deque[Item],
        *,
        done: Callable[[Item, Drawn], None],
        failed: Callable[[Item, str, int], None],
    ) -> None:
        if reference not in self._waiting:
            return  # of an actor that died, and so given out again
        actor, item = self._waiting.pop(reference)
        try:
            data: bytes = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if item is None:
                raise InputError(
                    f"A worker of the Ray cluster cannot start: {_last(error)}"
                ) from None
            actor.items.remove(item)
            failed(item, f"The worker failed: {_last(error)}", 1)
            return
        except self.ray.exceptions.RayError:
            self._bury(actor, item, left, failed=failed)
            return
        if item is None:
            self._compare(json.loads(data))
            actor.ready = True
            return
        actor.items.remove(item)
        result = unpacked(data)
        if isinstance(result, Drawn):
            done(item, result)
        else:
            failed(item, *result)

    def _bury(
        self,
        actor: _Actor,
        item: Item | None,
        left: deque[Item],
        *,
        failed: Callable[[Item, str, int], None],
    ) -> None:
        """Give out again what a dead actor had, and start another in its place."""
        self._waiting = {r: (a, i) for r, (a, i) in self._waiting.items() if a is not actor}
        self._actors.remove(actor)
        # The first in hand was being drawn, so only it can have taken the actor with it.
        suspect = actor.items[0] if actor.items else item
        for each in reversed(actor.items):
            if each is suspect:
                self._deaths[each.number] = self._deaths.get(each.number, 0) + 1
            if self._deaths.get(each.number, 0) >= MOST_DEATHS:
                sentence = f"{MOST_DEATHS} workers died while they drew it; see the logs of Ray."
                failed(each, sentence, MemoryLimitError.exit_code)
            else:
                left.appendleft(each)
        self._start()

    def _compare(self, theirs: dict[str, str]) -> None:
        own = facts_of_this_process()
        for name, version in own.items():
            if theirs.get(name) != version:
                raise InputError(
                    f"A worker of the Ray cluster has {name} {theirs.get(name)}, and this machine "
                    f"{version}; install the same on all nodes, or files will differ."
                )


def work_on_cluster(
    items: Sequence[Item],
    *,
    plan: Plan,
    options: ClusterOptions,
    pace: Pace,
    progress: Progress,
    after: Callable[[Outcome], None],
    make: Callable[..., Any] = ClusterWorker,
) -> Outcome:
    """Draw and publish items on a cluster; otherwise as ``work_through``.

    Args:
        items: the plan's pending items.
        plan: says where files go.
        options: of the cluster.
        pace: every finished item adds to it.
        progress: told of every file and every failure.
        after: called after every item.
        make: of the actors.

    Raises:
        InputError: the cluster cannot be used.
        OutputError: the folder cannot be written any more.
    """
    outcome, left = Outcome(), {item.number: item for item in items}
    like: AnimationRequest | None = None
    last = time.monotonic()

    def done(item: Item, drawn: Drawn) -> None:
        nonlocal like, last
        written = plan.publish(item, drawn.video, metadata=drawn.metadata)
        # Between two results of the whole cluster, so that the remaining time is right for all of it.
        now = time.monotonic()
        outcome.seconds[item.number], last = now - last, now
        del left[item.number]
        like = like or drawn.request
        pace.add(outcome.seconds[item.number], work_of(drawn.request, like=like))
        seconds = pace.time_for(sum(work_of(each.request, like=like) for each in left.values()))
        rest = f"; about {spoken(seconds)} left" if left else ""
        count = len(items) - len(left)
        for path in written:
            facts = {"path": str(path), "done": count, "total": len(items)}
            text = f"{path} ({count} of {len(items)}{rest})"
            progress.tell("written", text, {**facts, "seconds_left": round(seconds, 1)})
        after(outcome)

    def failed(item: Item, sentence: str, code: int) -> None:
        outcome.failures[item.number] = (sentence, code)
        del left[item.number]
        text = f"{item.source} failed: {sentence}"
        progress.tell("failed", text, {"source": item.source, "exit_code": code})
        after(outcome)

    ray = connected(options)
    progress.tell("cluster", f"Drawing on the Ray cluster {options.address}.", asdict(options))
    Dispatch(ray, options, make).run(items, done=done, failed=failed)
    return outcome


def _last(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1][:300]
