"""Join a Ray cluster: its address and token, how many actors it has room for, and what they send.

Ray itself trusts everybody who can reach it, so a token is required (``RAY_AUTH_MODE=token``). What our
workers send is JSON and plain bytes.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from animatediff.apps.options.machine import Memory
from animatediff.errors import InputError

IN_HAND = 2
"""Tasks that an actor has at a time: one that it does, and the next."""
MOST_DEATHS = 3
"""Actors that a task may take with it before it counts as failed."""
KILLER = f"{MOST_DEATHS} workers died while they did it; see the logs of Ray."
"""What is said of such a task."""
START_SECONDS = 600.0
"""How long to wait for a first actor."""
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
        compile: whether an actor compiles its model.
        memory: whether an actor's weights are all where they compute.
    """

    address: str
    workers: int = 0
    device: str = "auto"
    threads: int | None = None
    compile: bool = False
    memory: Memory = "full"


@dataclass(frozen=True)
class Places:
    """How many actors a cluster gets.

    Attributes:
        actors: their number.
        gpu: the part of a GPU that each takes; 0 without GPUs.
    """

    actors: int
    gpu: float


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


def unpacked(data: bytes | memoryview) -> tuple[dict[str, Any], memoryview]:
    """The JSON and the bytes that ``packed`` joined."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(bytes(data[8 : 8 + length])), memoryview(data)[8 + length :]


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


def places_of(ray: Any, options: ClusterOptions) -> Places:
    """Return how many actors to start on the nodes that are alive."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 0 if options.device == "cpu" else sum(int(node.get("GPU", 0)) for node in nodes)
    computing = sum(1 for node in nodes if node.get("CPU", 0) >= 1)
    actors = options.workers or gpus or max(1, computing)
    return Places(actors, share_of_gpu(actors, gpus) if gpus else 0.0)


def share_of_gpu(actors: int, gpus: int) -> float:
    """Return the part of a GPU that each actor takes: a whole one, or 1/2, 1/3, ... if all must fit."""
    return 1 / max(1, -(-actors // gpus))


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return a sentence that names the first version in which a worker differs; empty if none does."""
    for name, version in ours.items():
        if theirs.get(name) != version:
            return (
                f"A worker of the Ray cluster has {name} {theirs.get(name)}, and this machine "
                f"{version}; install the same on all nodes, or files will differ."
            )
    return ""


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, which names its cause."""
    return (str(error).strip().splitlines() or [""])[-1][:300]
