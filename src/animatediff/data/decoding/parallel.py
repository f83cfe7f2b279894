"""Decode many clips at once: a decoder per worker, results in order, with a limited queue."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.media import Limits
from animatediff.errors import FileError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoders:
    """Several decoders, each started by its first clip and kept for the next list of clips."""

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        self._decoders = [Decoder(limits) for _ in range(max(1, workers))]

    def in_order(
        self, items: Iterable[Item], job: Callable[[Decoder, Item], Result]
    ) -> Generator[tuple[Item, Result | FileError], None, None]:
        """Run a job with a decoder for each item; a bad file is a result, not an end.

        A reader that stops early ends the decoders.
        """
        free: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            free.put(decoder)

        def do(item: Item) -> Result | FileError:
            decoder = free.get()
            try:
                return job(decoder, item)
            except FileError as error:
                return error
            finally:
                free.put(decoder)

        pool = ThreadPoolExecutor(len(self._decoders))
        waiting: deque[tuple[Item, Future[Result | FileError]]] = deque()
        complete = False
        try:
            for item in items:
                waiting.append((item, pool.submit(do, item)))
                if len(waiting) >= 2 * len(self._decoders):
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
            complete = True
        finally:
            # Do not wait for results that nobody will read.
            pool.shutdown(wait=False, cancel_futures=True)
            if not complete:
                self.close()
            pool.shutdown()

    def close(self) -> None:
        """End all decoders, and start no other."""
        for decoder in self._decoders:
            decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def in_order(
    items: Iterable[Item],
    job: Callable[[Decoder, Item], Result],
    *,
    workers: int,
    limits: Limits | None = None,
) -> Generator[tuple[Item, Result | FileError], None, None]:
    """Run a job with a decoder for each item; a bad file is a result, not an end.

    Args:
        items: the items.
        job: called with a decoder that no other job uses meanwhile.
        workers: number of decoders; at most twice as many results are queued.
        limits: limits of each decoder.
    """
    with Decoders(workers, limits) as decoders:
        yield from decoders.in_order(items, job)
