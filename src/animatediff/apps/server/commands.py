"""Run one of the package's own commands as a child process, so that the server never imports torch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

MOST_LINE = 64 << 20
"""The longest line of output that is read; the report of a large dataset is one line."""


class CommandFailed(Exception):
    """A command ended with an error; the text is what it printed."""


async def output_of(words: Sequence[str], *, seconds: float) -> bytes:
    """What ``animatediff WORDS...`` prints.

    Args:
        words: the command line, without ``animatediff``. No word of it may be a client's text.
        seconds: after which it is ended.

    Raises:
        CommandFailed: it ended with an error, or was not done in time.
    """
    return b"".join([line async for line in _lines(words, seconds=seconds)])


async def json_lines(words: Sequence[str], *, seconds: float) -> AsyncGenerator[dict[str, Any]]:
    """Yield the JSON objects that ``animatediff WORDS...`` prints, one for each line.

    Args:
        words: as for ``output_of``.
        seconds: after which it is ended.

    Raises:
        CommandFailed: it ended with an error, or was not done in time.
    """
    async for line in _lines(words, seconds=seconds):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


async def _lines(words: Sequence[str], *, seconds: float) -> AsyncGenerator[bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "animatediff",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=MOST_LINE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(seconds):
            async for line in process.stdout:
                yield line
            code = await process.wait()
    except TimeoutError:
        raise CommandFailed(f"It was not done after {seconds:g} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        text = (await errors).decode("utf-8", "replace")
    if code:
        said = text.strip().splitlines()[-1:] or [f"The command ended with code {code}."]
        raise CommandFailed(said[0].removeprefix("animatediff: "))
