"""A crew: actors on a Ray cluster that do tasks, whatever dies.

The driver hands each actor at most two tasks at a time and takes results as they come, so that memory
does not grow with the work (back-pressure). If an actor or its node dies, its tasks are given out
again and another actor is started where there is room. A task that takes several actors with it fails.

Results are plain bytes: the driver unpickles nothing that a worker sent. Ray itself trusts everybody
who can reach it, so a token is required (``RAY_AUTH_MODE=token``).
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from animatediff.errors import InputError, MemoryLimitError

IN_HAND = 2
"""Tasks that an actor has at a time: one that it does, and the next."""
MOST_DEATHS = 3
"""Actors that a task may take with it before it counts as failed."""
START_SECONDS = 600.0
"""How long to wait for a first actor, or for another when all have died."""
LOOK_SECONDS = 1.0
AUTH = "RAY_AUTH_MODE"


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and how many actors.

    Attributes:
        address: of the cluster; ``auto`` for the one of this machine, ``local`` to start one.
        workers: actors; 0 for one for each GPU of the cluster, or for each node without GPUs. If
            there are more than GPUs, they share them.
        device: of an actor: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of an actor; all that it was given if ``None``.
    """

    address: str
    workers: int = 0
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Task:
    """Something for an actor to do.

    Attributes:
        number: identifies a task; tasks are assigned in its order.
        method: of the actor.
        argument: of the method.
    """

    number: int
    method: str
    argument: Any


@dataclass(frozen=True)
class Failed:
    """Why a task has no result.

    Attributes:
        sentence: for people.
        code: the exit code of a command that failed so.
    """

    sentence: str
    code: int


def packed(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """JSON and bytes in one: the length of the JSON in 8 bytes, the JSON, the bytes."""
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpacked(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON and the bytes that ``packed`` joined."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def versions_here() -> dict[str, str]:
    """The versions that decide the bytes of a result."""
    from animatediff.sampling.metadata import versions

    return versions()


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
        local = {"include_dashboard": False} if options.address == "local" else {}
        try:
            ray.init(
                address=options.address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **local,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"The Ray cluster {options.address} cannot be joined ({reason:.200}); start it with "
                "`RAY_AUTH_MODE=token ray start --head`, and give its address."
            ) from None
    return ray


@dataclass(eq=False)
class _Actor:
    handle: Any
    ready: bool = False
    tasks: list[Task] = field(default_factory=list[Task])


@dataclass
class Crew:
    """Actors of one class. Its class has a method ``hello`` that returns ``versions_here`` packed.

    Attributes:
        ray: the module, connected.
        options: of the cluster.
        make: the class of the actors.
        arguments: of their constructor.
    """

    ray: Any
    options: ClusterOptions
    make: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    _actors: list[_Actor] = field(default_factory=list[_Actor])
    _waiting: dict[Any, tuple[_Actor, Task | None]] = field(
        default_factory=dict[Any, tuple[_Actor, Task | None]]
    )
    _deaths: dict[int, int] = field(default_factory=dict[int, int])
    _given: list[tuple[Task, Failed]] = field(default_factory=list[tuple[Task, Failed]])

    def results(
        self, tasks: Iterable[Task | None]
    ) -> Generator[tuple[Task, bytes | Failed], None, None]:
        """Do tasks; each is yielded once with its result, in the order in which they are done.

        Tasks are taken from the iterable only when an actor has room for them. ``None`` instead of a
        task says that the next is not to be begun yet.

        Raises:
            InputError: no actor came up, or a worker runs other versions than this process.
        """
        source, again = iter(tasks), deque[Task]()
        self._deaths.clear()
        while len(self._actors) < self._count():
            self._start()
        alive = time.monotonic()
        while True:
            more = self._hand_out(source, again)
            if not more and not any(task for _, task in self._waiting.values()):
                return
            ready, _ = self.ray.wait(list(self._waiting), num_returns=1, timeout=LOOK_SECONDS)
            for reference in ready:
                found = self._take(reference, again)
                if found is not None:
                    yield found
            while self._given:
                yield self._given.pop()
            if any(actor.ready for actor in self._actors):
                alive = time.monotonic()
            elif time.monotonic() - alive > START_SECONDS:
                raise InputError(
                    f"No worker of the Ray cluster came up within {START_SECONDS:g} s; look at "
                    "`ray status`."
                )

    def in_order(self, tasks: Iterable[Task]) -> Generator[tuple[Task, bytes | Failed], None, None]:
        """As ``results``, in the order of the tasks' numbers, which must rise by one from 0.

        Few results wait for an earlier one: no task is begun that is further ahead than eight for
        each actor.
        """
        held: dict[int, tuple[Task, bytes | Failed]] = {}
        wanted = 0
        ahead = 4 * IN_HAND * self._count()

        def near() -> Generator[Task | None, None, None]:
            for task in tasks:
                while task.number - wanted >= ahead:
                    yield None
                yield task

        for task, result in self.results(near()):
            held[task.number] = (task, result)
            while wanted in held:
                yield held.pop(wanted)
                wanted += 1

    @property
    def has_gpus(self) -> bool:
        """Whether the actors have GPUs."""
        return self.options.device != "cpu" and self._gpus() >= 1

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self.ray.kill(actor.handle)
        self._actors.clear()
        self._waiting.clear()

    def _count(self) -> int:
        if self.options.workers:
            return self.options.workers
        if self.has_gpus:
            return self._gpus()
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        return max(1, sum(1 for node in nodes if node["Resources"].get("CPU", 0) >= 1))

    def _gpus(self) -> int:
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        return sum(int(node["Resources"].get("GPU", 0)) for node in nodes)

    def _start(self) -> None:
        remote = self.ray.remote(self.make).options(
            num_cpus=1,
            num_gpus=share_of_gpu(self._count(), self._gpus()) if self.has_gpus else 0,
            scheduling_strategy="SPREAD",
        )
        actor = _Actor(remote.remote(*self.arguments))
        self._actors.append(actor)
        self._waiting[actor.handle.hello.remote()] = (actor, None)

    def _hand_out(self, source: Any, again: deque[Task]) -> bool:
        """Fill the actors' hands; returns whether tasks are left."""
        more = True
        # The actor with the least in hand comes first, so that the last tasks are spread.
        for room in range(IN_HAND):
            for actor in self._actors:
                if not actor.ready or len(actor.tasks) != room:
                    continue
                task = again.popleft() if again else next(source, _NONE_LEFT)
                if task is _NONE_LEFT:
                    more = False
                elif task is not None:
                    actor.tasks.append(task)
                    reference = getattr(actor.handle, task.method).remote(task.argument)
                    self._waiting[reference] = (actor, task)
        return more or bool(again) or bool(self._given)

    def _take(self, reference: Any, again: deque[Task]) -> tuple[Task, bytes | Failed] | None:
        if reference not in self._waiting:
            return None  # of an actor that died, whose tasks were given out again
        actor, task = self._waiting.pop(reference)
        try:
            data: bytes = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if task is None:
                raise InputError(
                    f"A worker of the Ray cluster cannot start: {_last(error)}"
                ) from None
            actor.tasks.remove(task)
            return task, Failed(f"The worker failed: {_last(error)}", 1)
        except self.ray.exceptions.RayError:
            self._bury(actor, again)
            return None
        if task is None:
            _compare(unpacked(data)[0])
            actor.ready = True
            return None
        actor.tasks.remove(task)
        return task, data

    def _bury(self, actor: _Actor, again: deque[Task]) -> None:
        """Give out again what a dead actor had, and start another in its place."""
        self._waiting = {r: (a, t) for r, (a, t) in self._waiting.items() if a is not actor}
        self._actors.remove(actor)
        for place, task in reversed(list(enumerate(actor.tasks))):
            if place == 0:  # It was being done, so only it can have taken the actor with it.
                self._deaths[task.number] = self._deaths.get(task.number, 0) + 1
            if self._deaths.get(task.number, 0) >= MOST_DEATHS:
                sentence = f"{MOST_DEATHS} workers died while they did it; see the logs of Ray."
                self._given.append((task, Failed(sentence, MemoryLimitError.exit_code)))
            else:
                again.appendleft(task)
        self._start()


_NONE_LEFT: Any = object()


def share_of_gpu(actors: int, gpus: int) -> float:
    """Return the part of a GPU that each actor takes: a whole one, or 1/2, 1/3, ... if all must fit."""
    return 1 / max(1, -(-actors // gpus))


def _compare(theirs: Mapping[str, str]) -> None:
    for name, version in versions_here().items():
        if theirs.get(name) != version:
            raise InputError(
                f"A worker of the Ray cluster has {name} {theirs.get(name)}, and this machine "
                f"{version}; install the same on all nodes, or files will differ."
            )


def _last(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1][:300]
