"""Many clips at once: a decoder for each worker, results in order, never far ahead of their reader."""

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
    """Do a job with a decoder for each item; a bad file is a result, not the end.

    Args:
        items: what to do it for.
        job: given a decoder that nobody else uses meanwhile.
        workers: how many decoders run; at most twice as many results wait.
        limits: of each decoder.
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
        # What nobody will read any more is not waited for.
        pool.shutdown(wait=False, cancel_futures=True)
        for decoder in decoders:
            decoder.close()
        pool.shutdown()
