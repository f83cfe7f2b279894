"""How much memory is free, and the refusal of an animation that needs more."""

from __future__ import annotations

from pathlib import Path

import torch

from animatediff.errors import MemoryLimitError
from animatediff.runtime import Runtime
from animatediff.sampling.loaded.loading import Parts
from animatediff.sampling.loaded.memory_need import GIB, MemoryNeed, bound_beside, memory_need
from animatediff.sampling.settled import Settled

SPARE = 0.97
"""The share of the free memory that an animation may take."""


def check_room(settled: Settled, parts: Parts, *, runtime: Runtime) -> None:
    """Refuse an animation that cannot fit into the memory that is free.

    Only one that may not fit is predicted exactly, which takes a trial.

    Args:
        settled: the request.
        parts: the loaded model.
        runtime: where it runs.

    Raises:
        MemoryLimitError: it cannot.
    """
    device = parts.base.device
    if not fits(bound_beside(settled, parts, runtime=runtime), device=device):
        check_memory(memory_need(settled, parts, runtime=runtime), device=device)


def check_memory(need: MemoryNeed, *, device: torch.device) -> None:
    """Refuse what needs more memory than is free.

    Raises:
        MemoryLimitError: it does.
    """
    if fits(need.beside, device=device):
        return
    free = free_memory(device) or 0
    raise MemoryLimitError(
        f"The animation needs about {need.beside / GIB:.1f} GiB beside what is loaded, and "
        f"{free / GIB:.1f} GiB are free; ask for fewer frames or a smaller size, or for a shorter "
        "--window-length, which bounds the frames that are denoised together."
    )


def fits(beside: int, *, device: torch.device) -> bool:
    """Whether a device has room for so many bytes beside what is loaded."""
    free = free_memory(device)
    return free is None or beside <= free * SPARE


def free_memory(device: torch.device) -> int | None:
    """Bytes that may still be taken on a device; ``None`` where that cannot be known.

    On a processor it is what the system can give, or what a container's limit (cgroup v2) leaves if
    that is less.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    if device.type != "cpu":
        return None
    found = [available(Path("/proc/meminfo")), left_in_container(Path("/sys/fs/cgroup"))]
    return min((each for each in found if each is not None), default=None)


def available(meminfo: Path) -> int | None:
    """What Linux can give without swapping, in bytes; ``None`` on other systems."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kibibytes[0] * 1024 if kibibytes else None


def left_in_container(group: Path) -> int | None:
    """What the limit of a container leaves; cached files are given up first, so they are free."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    cached = int(kept.get("inactive_file", 0)) + int(kept.get("active_file", 0))
    return None if limit == "max" else max(int(limit) - used + cached, 0)
