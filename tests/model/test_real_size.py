"""Stable Diffusion 1.5 at its real size fits an ordinary computer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "real_size.py"


@pytest.mark.slow
def test_eight_frames_at_256_pixels_fit_in_12_gib():
    run = subprocess.run(
        [sys.executable, PROGRAM, "--size", "256", "--frames", "8", "--steps", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["image_parameters"] == 859_520_964
    assert result["motion_parameters"] == 417_137_600
    assert len(result["step_s"]) == 2
    assert result["finite"]
    assert result["built_gib"] > 5.1e9 / 2**30
    assert result["peak_gib"] < 12
