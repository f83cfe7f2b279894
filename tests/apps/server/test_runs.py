"""Training runs are shown whatever a process that was killed left in their files."""

from __future__ import annotations

from pathlib import Path

from tests.apps.server.served import Served


def test_lines_that_are_no_points_are_left_out(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    lines = (b'{"step": 1, "loss": 0.5}', b"\xff\xfe", b'{"step": "x", "loss": 1}', b'{"step": 2')
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines))
    with Served(tmp_path / "served", devices=(), runs=tmp_path / "runs") as served:
        answer = served.client.get("/api/v1/runs/mine")
        listed = served.client.get("/api/v1/runs").json()["runs"]
    assert answer.status_code == 200, answer.text
    assert answer.json()["points"] == [{"step": 1, "loss": 0.5, "rate": None}]
    assert listed == [{"name": "mine", "step": 1, "loss": 0.5}]
