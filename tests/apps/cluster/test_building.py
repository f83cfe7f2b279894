"""A dataset built on a Ray cluster of two nodes has the bytes of one built here."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animatediff.apps.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(10):
        noise = np.random.default_rng(number)
        pictures = [
            Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)) for _ in range(9)
        ]
        path = folder / f"{number:02}.gif"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=125)
        path.with_suffix(".txt").write_text(f"noise number {number}")
    return folder


def build(clips: Path, output: Path, model: Path | str, *words: str) -> None:
    given = [
        "--model",
        str(model),
        "--fps",
        "8",
        "--frames",
        "4",
        "--longest",
        "4",
        "--device",
        "cpu",
    ]
    given += ["--threads", "1", "--no-cut-scenes", "--progress", "none", "--size", "32x32"]
    assert main(["dataset", "build", str(clips), "-o", str(output), *given, *words]) == 0


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def test_a_build_on_a_cluster_has_the_same_bytes(
    cluster: Any, clips: Path, tiny_world: Path, tmp_path: Path
) -> None:
    build(clips, tmp_path / "here", tiny_world)
    build(clips, tmp_path / "there", tiny_world, "--ray", cluster.address, "--workers", "2")
    assert shards(tmp_path / "here")
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "there").glob("*.tar")}
    build(clips, tmp_path / "there", tiny_world, "--ray", cluster.address, "--workers", "2")
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is done twice"


def test_a_broken_clip_and_a_killed_node_do_not_stop_a_build(
    cluster: Any, clips: Path, tmp_path: Path
) -> None:
    (clips / "03.gif").write_bytes(b"GIF89a but no more")
    node = next(iter(cluster.worker_nodes))
    timer = threading.Timer(6, cluster.remove_node, (node, False))
    timer.start()
    words = ["--max-bad", "0.2", "--ray", cluster.address, "--workers", "2"]
    try:
        build(clips, tmp_path / "there", "none", *words)
    finally:
        timer.join()
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    build(clips, tmp_path / "here", "none", "--max-bad", "0.2")
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    lines = (tmp_path / "there" / "quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["clip"] for line in lines if "clip" in line] == ["03"]
