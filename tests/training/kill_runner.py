"""Runs trainings in forked children of a process that has imported everything once.

Reads one job a line, as JSON: stage, setup, options, folder, ``kill_after``, ``kill_at``. It kills the
child with SIGKILL after so many seconds of its own processor time, which no other program changes, or
lets it kill itself in the middle of the nth file of its saves, and answers with how the child ended.
Parts that a row makes anew are small.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import save_file
from tests.training.options import from_table
from tests.training.small_world import make_parts_small

from animatediff.training.recipe import Recipe
from animatediff.training.runs import checkpoint
from animatediff.training.runs.trainer import train
from animatediff.world.stages.table import STAGES


def run(job: dict[str, Any]) -> None:
    if job["kill_at"] is not None:
        _die_in_save(job["kill_at"])
    setup = from_table(job["stage"], job["setup"])
    options = Recipe(**job["options"])
    prepared = STAGES[job["stage"]].prepare(setup, options, torch.device("cpu"))
    learned = train(prepared.lesson, options, Path(job["folder"]), facts=prepared.facts)
    prepared.save(learned)


def _die_in_save(nth: int) -> None:
    """SIGKILL this process in the middle of writing the nth tensor file."""
    written = 0

    def dying(tensors: Any, path: Path) -> None:
        nonlocal written
        written += 1
        if written == nth:
            whole = Path(f"{path}.whole")
            save_file(tensors, whole)
            path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        save_file(tensors, path)

    checkpoint.save_file = dying


def watched(child: int, kill_after: float | None) -> tuple[int, float]:
    """How a child ended, killed after so many seconds if it is told, and the seconds it worked."""
    while True:
        waiting = 0 if kill_after is None else os.WNOHANG
        pid, status, usage = os.wait4(child, waiting)
        if pid:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        times = psutil.Process(child).cpu_times()
        if kill_after is not None and times.user + times.system >= kill_after:
            os.kill(child, signal.SIGKILL)
            kill_after = None
        else:
            time.sleep(0.005)


def main() -> None:
    torch.set_num_threads(1)
    make_parts_small()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(job)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        ended, seconds = watched(child, job["kill_after"])
        print(json.dumps({"ended": ended, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
