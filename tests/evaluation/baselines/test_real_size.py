"""The baselines and the metrics at the size of Stable Diffusion 1.5 fit in 20 GiB."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "real_size_baselines.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "size"), [("text2video-zero", 256), ("tune-a-video", 256), ("metrics", 512)]
)
def test_one_step_fits_in_20_gib(what, size):
    words = [sys.executable, PROGRAM, what, "--size", str(size), "--frames", "4"]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["finite"]
    assert result["peak_gib"] < 20
