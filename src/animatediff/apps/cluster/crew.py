"""A crew: actors on a Ray cluster that do tasks, in order, whatever dies.

The driver hands each actor at most two tasks at a time and takes results as they come, so that memory
does not grow with the work (back-pressure). If an actor or its node dies, its tasks are given out
again and another actor is started where there is room. A task that takes several actors with it fails.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from animatediff.apps.cluster.joining import (
    IN_HAND,
    KILLER,
    MOST_DEATHS,
    START_SECONDS,
    ClusterOptions,
    Failed,
    difference,
    last_line,
    places_of,
    unpacked,
    versions_here,
)
from animatediff.errors import InputError, MemoryLimitError

LOOK_SECONDS = 1.0


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

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self.ray.kill(actor.handle)
        self._actors.clear()
        self._waiting.clear()

    def _count(self) -> int:
        return places_of(self.ray, self.options).actors

    def _start(self) -> None:
        remote = self.ray.remote(self.make).options(
            num_cpus=1,
            num_gpus=places_of(self.ray, self.options).gpu,
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
                    f"A worker of the Ray cluster cannot start: {last_line(error)}"
                ) from None
            actor.tasks.remove(task)
            return task, Failed(f"The worker failed: {last_line(error)}", 1)
        except self.ray.exceptions.RayError:
            self._bury(actor, again)
            return None
        if task is None:
            refusal = difference(unpacked(data)[0], versions_here())
            if refusal:
                raise InputError(refusal)
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
                self._given.append((task, Failed(KILLER, MemoryLimitError.exit_code)))
            else:
                again.appendleft(task)
        self._start()


_NONE_LEFT: Any = object()
