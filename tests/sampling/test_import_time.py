"""What is imported before there is a model: not the libraries that take seconds."""

from __future__ import annotations

import subprocess
import sys


def test_the_animator_does_not_import_diffusers_before_it_loads_a_model() -> None:
    program = (
        "import sys\n"
        "import animatediff.sampling.animator\n"
        "print([name for name in ('diffusers', 'transformers') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
