"""A stream through Ray Data: back-pressure, lost results, and workers that cannot start."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from tests.apps.cluster.nodes import MEMORY, BulkyWorker, GpuWorker, WorkerThatCannotStart

from animatediff.apps.cluster.joining import ClusterOptions, connected, unpacked
from animatediff.apps.cluster.stream import Stream
from animatediff.errors import InputError

TASKS = 120


def stream(cluster: Any, make: Any, *arguments: Any) -> Stream:
    options = ClusterOptions(cluster.address, workers=2, device="cpu", threads=1)
    return Stream(connected(options), options, make, arguments)


def begun(folder: Path, *, least: int) -> int:
    """How many tasks were begun, when no more are; waits for some first, as workers start slowly."""
    count, since = -1, time.monotonic()
    while count < least or time.monotonic() - since < 10:
        now = len(list(folder.iterdir()))
        if now != count:
            count, since = now, time.monotonic()
        assert time.monotonic() - since < 300
        time.sleep(0.1)
    return count


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_wait_for_the_driver_and_a_node_takes_no_result_with_it(
    cluster: Any, tmp_path: Path
) -> None:
    tasks = {number: f"task-{number}" for number in range(TASKS)}
    found: dict[int, str] = {}
    with contextlib.closing(stream(cluster, BulkyWorker, tmp_path).results(tasks)) as results:
        for number, data in results:
            assert number not in found
            head, body = unpacked(data)
            assert len(body) == 4 << 20
            found[number] = head["task"]
            if len(found) == 1:
                # Nobody takes results now, so that they fill half of the three object stores at most.
                assert begun(tmp_path, least=10) < 3 * MEMORY // (4 << 20)
                # Those that wait on one node go with it.
                node = sorted(cluster.worker_nodes, key=lambda each: each.unique_id)[0]
                cluster.remove_node(node, False)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    assert found == tasks


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_worker_that_cannot_start_is_named(cluster: Any) -> None:
    with pytest.raises(InputError, match="cannot start: OSError: no such model"):
        list(stream(cluster, WorkerThatCannotStart).results({0: "", 1: ""}))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_three_workers_share_the_only_gpu(cluster: Any) -> None:
    """Ray believes that a node has a GPU if it is told so."""
    node = cluster.add_node(num_cpus=3, num_gpus=1, object_store_memory=MEMORY)
    options = ClusterOptions(cluster.address, workers=3, device="cuda")
    tasks = dict.fromkeys(range(9), "")
    given = [
        unpacked(data)[0]
        for _, data in Stream(connected(options), options, GpuWorker).results(tasks)
    ]
    cluster.remove_node(node)
    assert len({each["process"] for each in given}) == 3
    assert [each["gpus"] for each in given] == [["0"]] * 9
