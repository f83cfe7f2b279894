"""Decode many clips at once: a decoder per worker, results in order, with a limited queue."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.media import Limits
from animatediff.errors import FileError

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    decoders = [Decoder(limits) for _ in range(max(1, workers))]
    free: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for decoder in decoders:
        free.put(decoder)

    def do(item: Item) -> Result | FileError:
        decoder = free.get()
        try:
            return job(decoder, item)
        except FileError as error:
            return error
        finally:
            free.put(decoder)

    pool = ThreadPoolExecutor(len(decoders))
    waiting: deque[tuple[Item, Future[Result | FileError]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(do, item)))
            if len(waiting) >= 2 * len(decoders):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # Do not wait for results that nobody will read.
        pool.shutdown(wait=False, cancel_futures=True)
        for decoder in decoders:
            decoder.close()
        pool.shutdown()
