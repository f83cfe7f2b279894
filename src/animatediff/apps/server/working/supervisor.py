"""The supervisor: one worker process for each device, started again when it ends, and the upkeep.

It runs beside the server's routes. It never computes: everything that may crash or take long is in
the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from animatediff.apps.options.machine import Memory
from animatediff.apps.server.service import Service
from animatediff.apps.server.working.worker import WorkerSettings
from animatediff.errors import FileError, InputError, OutputError

T = TypeVar("T")

WORKER = (sys.executable, "-m", "animatediff.apps.server.working.worker")
STOP_SECONDS = 10.0
UPKEEP_SECONDS = 2.0
SWEEP_SECONDS = 600.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0
"""Seconds before a worker that ended is started again; doubled if it ends soon after."""
SOON = 5.0
KILLED = 9
"""The signal, which not every system's module ``signal`` names."""
SILENT = "it showed no sign of life"
QUOTA_SHARE = 0.95
"""Unused uploads and then the oldest results leave when the store is fuller than that."""
UNUSED_SECONDS = 3600.0
"""How long an upload may wait for a job before it leaves a full store."""


class Supervisor:
    """Keeps workers running and the queue and the store in order.

    Args:
        service: whose jobs are made.
        devices: one worker for each.
        threads: CPU threads of each; ``None`` for torch's choice.
        compiled: whether each compiles its models.
        memory: whether weights of each are all where they compute.
        model_bytes: memory of each for loaded models; ``None`` for a share of the device's.
        command: starts a worker; its settings are added as one word.
        environment: of the workers; this process's own if ``None``.
    """

    def __init__(
        self,
        service: Service,
        *,
        devices: Sequence[str] = ("auto",),
        threads: int | None = None,
        compiled: bool = False,
        memory: Memory = "full",
        model_bytes: int | None = None,
        command: Sequence[str] = WORKER,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.service = service
        self.devices = tuple(devices)
        self.threads = threads
        self.compiled = compiled
        self.memory: Memory = memory
        self.model_bytes = model_bytes
        self.command = tuple(command)
        self.environment = environment
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._hung: set[str] = set()

    @property
    def processes(self) -> Mapping[str, int]:
        """The process numbers of the workers, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    async def run(self) -> None:
        """Run until cancelled; then let the workers give their jobs back and end them."""
        service = self.service
        taken = await service.write(service.queue.recovery.interrupted)
        if taken:
            service.logs.event("taken back", {"jobs": taken})
        tasks = [asyncio.create_task(self._keep(device)) for device in self.devices]
        tasks.append(asyncio.create_task(self._upkeep()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- workers ----------------------------------------------------------------------------------

    async def _keep(self, device: str) -> None:
        """Start a worker for a device again and again."""
        wait = FIRST_WAIT
        while True:
            name = f"{device}-{secrets.token_hex(6)}"
            began = time.monotonic()
            process = await self._start(name, device)
            self._processes[name] = process
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await _stop(process)
                raise
            finally:
                del self._processes[name]
            await self._ended(name, device, code)
            wait = min(LONGEST_WAIT, 2 * wait) if time.monotonic() - began < SOON else FIRST_WAIT
            await asyncio.sleep(wait)

    async def _start(self, name: str, device: str) -> asyncio.subprocess.Process:
        settings = self.service.settings
        worker = WorkerSettings(
            folder=str(settings.folder.resolve()),
            name=name,
            device=device,
            workers=len(self.devices),
            threads=self.threads,
            compile=self.compiled,
            memory=self.memory,
            model_bytes=self.model_bytes,
            store_bytes=settings.limits.store_bytes,
            endurance=settings.endurance,
        )
        # An empty folder, so that no name of a request is by chance a file beside the worker.
        empty = settings.folder / "empty"
        empty.mkdir(exist_ok=True)
        return await asyncio.create_subprocess_exec(
            *self.command,
            worker.to_json(),
            cwd=empty,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=dict(self.environment) if self.environment is not None else None,
        )

    async def _ended(self, name: str, device: str, code: int) -> None:
        """Take back what a worker had, and count against its job if it crashed."""
        service = self.service
        cause = SILENT if name in self._hung else _cause_of(code)
        self._hung.discard(name)

        def take_back() -> int:
            service.workers.gone(name)
            return len(service.queue.recovery.crashed(name, cause))

        jobs = await self._sure(take_back, default=0)
        if code or jobs:
            service.metrics.crashed()
            service.logs.event(
                "worker ended", {"worker": name, "device": device, "cause": cause, "jobs": jobs}
            )

    # --- upkeep -----------------------------------------------------------------------------------

    async def _upkeep(self) -> None:
        swept = time.monotonic()
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            for job, owner in await self._sure(self.service.queue.recovery.expired, default=[]):
                process = self._processes.get(owner)
                if process is not None:
                    self._hung.add(owner)
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()  # its end is noticed where it is awaited
                    continue
                await self._sure(
                    partial(self.service.queue.recovery.crashed, owner, SILENT), default=[]
                )
                self.service.logs.event("lease ended", {"job": job})
            await self._sure(self._expire, default=None)
            if time.monotonic() - swept > SWEEP_SECONDS:
                await self._sure(self.service.store.sweep, default=0)
                swept = time.monotonic()

    def _expire(self) -> None:
        """Delete what is old, and if the store is full unused uploads, then the oldest results."""
        service = self.service
        keep = service.settings.limits.keep_seconds
        service.queue.recovery.prune(keep_seconds=keep)
        service.store.expire(keep_seconds=keep)
        most = QUOTA_SHARE * service.store.quota
        for _ in range(100):
            if service.store.bytes_used() <= most:
                break
            if service.store.make_room(most=most, unused_seconds=UNUSED_SECONDS):
                continue
            oldest = service.queue.recovery.oldest_finished()
            if oldest is None:
                break
            service.queue.remove(oldest)
            service.logs.event("dropped for room", {"job": oldest})
            if not service.store.expire(keep_seconds=keep):
                break  # they are too young to be deleted, and will be soon

    async def _sure(self, change: Callable[[], T], *, default: T) -> T:
        """Do a change, and go on if the disk is full or locked for the moment."""
        try:
            return await self.service.write(change)
        except (OutputError, FileError) as error:
            self.service.logs.event("not written", {"error": str(error)})
            return default


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a worker: kindly, then surely."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _cause_of(code: int) -> str:
    """Why a process ended, in a few words."""
    if code == -KILLED:
        return "killed, as the system does when memory runs out (signal 9)"
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"


class Lock:
    """Holds a service's folder, so that a second server does not take its jobs.

    Args:
        folder: the service's; it is made if it is missing.

    Raises:
        InputError: another server has it.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "lock").open("a+")
        except OSError as error:
            raise OutputError(
                f"The folder {folder} cannot be written ({error.strerror}); name another with "
                "--folder."
            ) from None
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InputError(
                f"Another server uses the folder {folder}; stop it, or name another with --folder."
            ) from None

    def close(self) -> None:
        """Let the folder go."""
        self._file.close()


def check_memory_option(devices: Sequence[str], *, memory: Memory, compiled: bool) -> None:
    """Refuse ``--memory low`` where no worker could start with it, before any is started.

    Raises:
        InputError: a device is the CPU, or models are to be compiled.
    """
    if memory != "low":
        return
    if compiled:
        raise InputError(
            "--memory low moves weights at every layer, which a compiled model cannot follow; "
            "leave out --compile or --memory low."
        )
    has_gpus = sys.platform != "linux" or any(Path("/dev").glob("nvidia[0-9]*"))
    if "cpu" in devices or (tuple(devices) == ("auto",) and not has_gpus):
        raise InputError(
            "--memory low keeps weights in the machine's memory and computes on a GPU, and a worker "
            "would compute on the CPU; leave it out, or name GPUs with --devices."
        )


def devices_of(text: str, *, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The devices that ``--devices`` names; ``auto`` is every GPU, or the CPU.

    Nothing here imports torch: GPUs are counted by their files.

    Raises:
        InputError: none is named.
    """
    named = tuple(part.strip() for part in text.split(",") if part.strip())
    if not named:
        raise InputError("--devices names none; write auto, cpu, or cuda:0,cuda:1.")
    if named != ("auto",):
        return named
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    else:
        count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ("auto",)
