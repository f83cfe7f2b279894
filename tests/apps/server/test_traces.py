"""S10: whatever is asked, the server connects to nobody and writes only in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_is_connected_to_and_nothing_is_written_elsewhere() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-B", str(Path(__file__).with_name("traced_server.py"))],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert set(found["connected"]) <= {"127.0.0.1", "localhost"}
    assert found["outside"] == []
