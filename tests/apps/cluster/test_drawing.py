"""A batch on a Ray cluster of two nodes: the same files as on one machine, whatever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.apps.cluster.nodes import MEMORY, OldWorker, StubWorker

from animatediff.apps.cli import main
from animatediff.apps.cluster.drawing import packed_drawing, unpacked_drawing, work_on_cluster
from animatediff.apps.cluster.joining import (
    ClusterOptions,
    Failed,
    connected,
    packed,
    share_of_gpu,
)
from animatediff.apps.many.entries import Entry
from animatediff.apps.many.plan import Plan, plan_batch
from animatediff.apps.many.work import Drawn, Outcome
from animatediff.apps.progress import Quiet
from animatediff.errors import InputError
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video


def planned(folder: Path, prompts: list[str]) -> Plan:
    folder.mkdir(exist_ok=True)
    requests = [
        AnimationRequest(prompt, seed=n, width=16, height=16, num_frames=2, steps=1, guidance=1.0)
        for n, prompt in enumerate(prompts)
    ]
    entries = [Entry(request.validated(), f"line {n}") for n, request in enumerate(requests)]
    return plan_batch(entries, folder=folder, formats=("webp",), template="{number}-{hash}")


def work(plan: Plan, cluster: Any, *, after: Any = None, make: Any = StubWorker) -> Outcome:
    return work_on_cluster(
        plan.pending(),
        plan=plan,
        options=ClusterOptions(cluster.address, workers=2, device="cpu", threads=1),
        progress=Quiet(),
        after=after or (lambda _: None),
        make=make,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.webp")}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_killed_node_loses_nothing_and_the_plan_resumes(cluster: Any, tmp_path: Path) -> None:
    plan = planned(tmp_path / "a", ["a fox"] * 24)
    killed: list[float] = []

    def kill(outcome: Outcome) -> None:
        if len(outcome.seconds) == 6 and not killed:
            killed.append(time.monotonic())
            node = sorted(cluster.worker_nodes, key=lambda each: each.unique_id)[0]
            threading.Thread(target=cluster.remove_node, args=(node, False)).start()

    outcome = work(plan, cluster, after=kill)
    assert killed
    assert outcome.failures == {}
    assert len(outcome.seconds) == 24
    assert plan.pending() == []
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    # The same plan elsewhere, stopped in the middle by its driver, and then gone on with.
    other = planned(tmp_path / "b", ["a fox"] * 24)

    def stop(outcome: Outcome) -> None:
        if len(outcome.seconds) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(other, cluster, after=stop)
    assert len(other.pending()) == 19
    assert len(work(other, cluster).seconds) == 19
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_one_bad_request_does_not_stop_the_others(cluster: Any, tmp_path: Path) -> None:
    plan = planned(tmp_path / "a", ["a fox", "refused", "poison", "broken", "a hare", "an owl"])
    outcome = work(plan, cluster)
    assert sorted(outcome.seconds) == [1, 5, 6]
    assert outcome.failures[2] == ("It cannot be drawn.", 2)
    assert "3 workers died" in outcome.failures[3][0]
    assert "ZeroDivisionError: a bug" in outcome.failures[4][0]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_of_another_version_are_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has torch 1\.0"):
        work(planned(tmp_path / "a", ["a fox"]), cluster, make=OldWorker)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_stranger_without_the_token_is_kept_out(cluster: Any) -> None:
    code = (
        f"import ray; ray.init(address={cluster.address!r}, logging_level=50); print(ray.nodes())"
    )
    for changes in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 32}):
        environment = {**os.environ, **changes}
        environment.pop("RAY_AUTH_TOKEN_PATH")
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode != 0, run.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_files_are_the_bytes_of_the_local_run(
    cluster: Any,
    tiny_world: Path,
    tiny_motion: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foxes.csv").write_text("prompt,seed\na fox,1\na hare,2\nan owl,3\n")
    words = ["batch", "foxes.csv", "--model", str(tiny_world), "--motion", str(tiny_motion)]
    words += [
        "--frames",
        "2",
        "--steps",
        "2",
        "--format",
        "mp4,webp",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    words += ["--progress", "none"]
    assert main([*words, "-o", "here"]) == 0
    assert main([*words, "-o", "there", "--ray", cluster.address, "--workers", "2"]) == 0
    made = {
        path.name: path.read_bytes()
        for path in (tmp_path / "here").iterdir()
        if path.suffix in (".mp4", ".webp")
    }
    assert len(made) == 6
    assert {name: (tmp_path / "there" / name).read_bytes() for name in made} == made


def test_an_animation_travels_whole() -> None:
    frames = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    request = AnimationRequest("a fox", seed=2**64 - 1).validated()
    drawn = Drawn(Video(frames, Fraction(24000, 1001)), {"a": "😀"}, request)
    found = unpacked_drawing(packed_drawing(drawn))
    assert isinstance(found, Drawn)
    assert np.array_equal(found.video.frames, frames)
    assert (found.video.fps, found.metadata) == (drawn.video.fps, {"a": "😀"})
    assert found.request == request
    assert unpacked_drawing(packed({"failed": "no", "code": 3})) == Failed("no", 3)


def test_a_cluster_without_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(InputError, match="without a token"):
        connected(ClusterOptions("auto"))


@pytest.mark.parametrize(
    ("actors", "gpus", "share"),
    [(8, 8, 1), (3, 8, 1), (64, 8, 1 / 8), (10, 8, 1 / 2), (2, 1, 1 / 2)],
)
def test_more_actors_than_gpus_share_them(actors: int, gpus: int, share: float) -> None:
    assert share_of_gpu(actors, gpus) == share


def test_workers_need_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a fox\n")
    assert main(["batch", "a.txt", "--workers", "2"]) == 2
    assert "--workers is for --ray" in capsys.readouterr().err
