"""A stream through Ray Data: a pool of actors, each with a worker that stays loaded.

Ray Data hands out one task at a time, streams results as they are done, restarts actors that die, does
their tasks again, and begins no more while too many results wait in its object store (back-pressure).
Two things are added. A ledger counts how often each task was begun, as Ray Data would repeat one that
kills every actor without end. And a result that was done but is lost with its node is left for another
pass, as waiting for it would stop the stream while all places are taken.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from animatediff.apps.cluster.joining import (
    IN_HAND,
    KILLER,
    MOST_DEATHS,
    START_SECONDS,
    ClusterOptions,
    difference,
    last_line,
    packed,
    places_of,
    unpacked,
    versions_here,
)
from animatediff.errors import InputError, MemoryLimitError

ARRIVAL_SECONDS = 10.0
"""How long to wait for a result that is done, before it counts as lost with its node."""
ANOTHER_SECONDS = 1.0
"""The same, if the result before was lost."""


class Ledger:
    """The actor that counts how often each task was begun. It is on the driver's node."""

    def __init__(self) -> None:
        self._begun = Counter[int]()

    def begin(self, number: int) -> int:
        """Count one more beginning of a task; returns all of them."""
        self._begun[number] += 1
        return self._begun[number]


class Station:
    """What Ray Data calls in each actor of its pool.

    Args:
        make: the class of the worker, with methods ``hello`` and ``draw``.
        arguments: of its constructor.
        ledger: the actor that counts beginnings.
        versions: of the driver.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        arguments: tuple[Any, ...],
        ledger: Any,
        versions: Mapping[str, str],
    ) -> None:
        self._ledger = ledger
        self._worker = make(*arguments)
        self._refusal = difference(unpacked(self._worker.hello())[0], versions)

    def __call__(self, table: Any) -> Any:
        """Do the tasks of an Arrow table: columns ``number`` and ``task`` to ``number``, ``result``."""
        arrow: Any = importlib.import_module("pyarrow")
        numbers, tasks = table["number"].to_pylist(), table["task"].to_pylist()
        results = [self._result(n, task) for n, task in zip(numbers, tasks, strict=True)]
        columns = {
            "number": numbers,
            "result": arrow.array(results, arrow.large_binary()),
            "refusal": [self._refusal] * len(numbers),
        }
        return arrow.table(columns)

    def _result(self, number: int, task: str) -> bytes:
        if self._refusal:
            return b""
        ray: Any = importlib.import_module("ray")
        if ray.get(self._ledger.begin.remote(number)) > MOST_DEATHS:
            return packed({"failed": KILLER, "code": MemoryLimitError.exit_code})
        try:
            return self._worker.draw(task)
        except Exception as error:  # noqa: BLE001 - a failure of one task does not end the others
            sentence = f"The worker failed: {type(error).__name__}: {last_line(error)}"
            return packed({"failed": sentence, "code": 1})


@dataclass(frozen=True)
class Stream:
    """Tasks that the actors of a cluster do.

    Attributes:
        ray: the module, connected.
        options: of the cluster.
        make: the class of the workers, with methods ``hello`` (``versions_here``, packed) and ``draw``.
        arguments: of their constructor.
    """

    ray: Any
    options: ClusterOptions
    make: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    def results(self, tasks: Mapping[int, str]) -> Generator[tuple[int, memoryview], None, None]:
        """Do tasks; each is yielded once with its result, in the order in which they are done.

        Args:
            tasks: the argument of ``draw`` for each, by number, in the order in which they begin.

        Raises:
            InputError: no worker came up, one cannot start, or it has other versions.
        """
        self._wait_for_a_place()
        affinity: Any = importlib.import_module("ray.util.scheduling_strategies")
        here = affinity.NodeAffinitySchedulingStrategy(
            self.ray.get_runtime_context().get_node_id(), soft=False
        )
        ledger = self.ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here).remote()
        left = dict(tasks)
        while left:
            with contextlib.closing(self._pass(left, ledger)) as done:
                for number, result in done:
                    if left.pop(number, None) is not None:
                        yield number, result

    def _pass(
        self, tasks: Mapping[int, str], ledger: Any
    ) -> Generator[tuple[int, memoryview], None, None]:
        """Do tasks once; results that are lost after they were done are missing."""
        dataset = self._dataset(tasks, ledger)
        patience = ARRIVAL_SECONDS
        try:
            # When the last reference to this iterator goes, Ray Data ends its actors. A reference to
            # a lost result is let go too, as it counts as memory, and the stream would stop for it.
            for bundle in dataset.iter_internal_ref_bundles():
                for reference in bundle.block_refs:
                    table = self._fetched(reference, patience)
                    patience = ARRIVAL_SECONDS if table is not None else ANOTHER_SECONDS
                    yield from _rows(table) if table is not None else ()
        except self.ray.exceptions.RayError as error:
            raise InputError(
                f"A worker of the Ray cluster cannot start: {last_line(error)}"
            ) from None

    def _fetched(self, reference: Any, patience: float) -> Any:
        """The table of a block, or ``None`` if it is lost."""
        ready, _ = self.ray.wait([reference], timeout=patience)
        try:
            return self.ray.get(reference) if ready else None
        except self.ray.exceptions.RayError:
            return None

    def _dataset(self, tasks: Mapping[int, str], ledger: Any) -> Any:
        try:
            data: Any = importlib.import_module("ray.data")
            arrow: Any = importlib.import_module("pyarrow")
        except ImportError:
            raise InputError("Ray Data is not installed; pip install 'animatediff[ray]'.") from None
        # Whatever goes wrong is raised or is in a result; its own report would be a traceback.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        places = places_of(self.ray, self.options)
        # A block for each task, so that each is handed out, repeated and lost on its own.
        blocks = [arrow.table({"number": [n], "task": [task]}) for n, task in tasks.items()]
        dataset = data.from_arrow(blocks).map_batches(
            Station,
            fn_constructor_args=(self.make, self.arguments, ledger, versions_here()),
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(
                size=min(places.actors, len(blocks)), max_tasks_in_flight_per_actor=IN_HAND
            ),
            num_cpus=1,
            num_gpus=places.gpu,
        )
        dataset.context.enable_progress_bars = False
        return dataset

    def _wait_for_a_place(self) -> None:
        gpu = places_of(self.ray, self.options).gpu
        place = self.ray.remote(versions_here).options(num_cpus=1, num_gpus=gpu).remote()
        try:
            self.ray.get(place, timeout=START_SECONDS)
        except self.ray.exceptions.GetTimeoutError:
            raise InputError(
                f"No worker of the Ray cluster came up within {START_SECONDS:g} s; look at "
                "`ray status`."
            ) from None


def _rows(table: Any) -> Generator[tuple[int, memoryview], None, None]:
    for row in range(table.num_rows):
        refusal = table["refusal"][row].as_py()
        if refusal:
            raise InputError(refusal)
        yield table["number"][row].as_py(), memoryview(table["result"][row].as_buffer())
