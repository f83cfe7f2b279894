"""A grafted model compiles to one graph, and neither scales nor weights make a third one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_scales_weights_and_timesteps_do_not_recompile() -> None:
    program = Path(__file__).with_name("compiled.py")
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    first, after_scales, at_the_end = json.loads(run.stdout)
    assert first == 1
    # With the second scale, the scale becomes an input of the graph.
    assert after_scales <= 2
    assert at_the_end == after_scales
