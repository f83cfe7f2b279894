"""A Ray cluster of two nodes on this machine, and workers that need no model."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from animatediff.apps.cluster.joining import packed, versions_here
from animatediff.sampling.request import AnimationRequest

ROOT = Path(__file__).parents[3]
MEMORY = 100 << 20


@contextlib.contextmanager
def two_nodes(folder: Path) -> Generator[Any]:
    """A head, on which nothing is drawn, and two nodes with a CPU each; tokens are on."""
    token = folder / "token"
    token.write_text(secrets.token_hex(16))
    changes = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    ray: Any = importlib.import_module("ray")
    cluster_utils: Any = importlib.import_module("ray.cluster_utils")
    cluster = None
    try:
        cluster = cluster_utils.Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": MEMORY,
                "include_dashboard": False,
            },
        )
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield cluster
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class StubWorker:
    """Draws frames that are a function of the request; some requests are told to go wrong."""

    def __init__(self, machine: object, libraries: object) -> None:
        """As ``Drawer``."""

    def hello(self) -> bytes:
        return packed(versions_here())

    def draw(self, text: str) -> bytes:
        request = AnimationRequest.from_json(text)
        time.sleep(0.2)
        if request.prompt == "refused":
            return packed({"failed": "It cannot be drawn.", "code": 2})
        if request.prompt == "poison":
            os.kill(os.getpid(), 9)
        if request.prompt == "broken":
            raise ZeroDivisionError("a bug")
        frames = np.random.default_rng(request.seed).integers(0, 255, (2, 16, 16, 3), np.uint8)
        head = {
            "shape": frames.shape,
            "fps": "8",
            "metadata": {"animatediff": text},
            "request": text,
        }
        return packed(head, frames.tobytes())


class OldWorker(StubWorker):
    """A worker of another version."""

    def hello(self) -> bytes:
        return packed(versions_here() | {"torch": "1.0"})


class BulkyWorker:
    """Answers with some megabytes, and leaves an empty file for each task that it begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hello(self) -> bytes:
        return packed(versions_here())

    def draw(self, task: str) -> bytes:
        (self._folder / task).touch()
        return packed({"task": task}, bytes(4 << 20))


class GpuWorker:
    """Answers with its process and the GPUs that it was given."""

    def hello(self) -> bytes:
        return packed(versions_here())

    def draw(self, task: str) -> bytes:
        ray: Any = importlib.import_module("ray")
        time.sleep(1)
        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return packed({"process": os.getpid(), "gpus": gpus})


class WorkerThatCannotStart:
    """A worker whose model cannot be loaded."""

    def __init__(self) -> None:
        raise OSError("no such model")
