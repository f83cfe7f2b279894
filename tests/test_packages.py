"""The wheel and the source distribution install into a fresh environment and animate there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from animatediff.video import Video

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(*words: str | Path, at: Path) -> str:
    """Run a program without what this test's own environment adds; returns what it printed."""
    ended = subprocess.run(
        [str(word) for word in words],
        cwd=at,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))},
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A fresh environment's programs; its dependencies are those of this environment."""
    built, fresh = tmp_path / "built", tmp_path / "fresh"
    run(sys.executable, "-m", "hatchling", "build", "-t", request.param, "-d", built, at=ROOT)
    (file,) = built.iterdir()
    venv.create(fresh, symlinks=True)
    python = fresh / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", at=tmp_path
        ).strip()
    )
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    run(*pip, *offline, file, at=tmp_path)
    assert Path(
        run(python, "-c", "import animatediff; print(animatediff.__file__)", at=tmp_path)
    ).is_relative_to(own)
    assert (own / "animatediff" / "py.typed").is_file()
    return python.parent


def test_it_animates_a_prompt_with_the_built_in_model(installed: Path, tmp_path: Path) -> None:
    words = ["animate", "a fox", "-o", "fox.gif", "--frames", "2", "--steps", "1"]
    run(installed / "animatediff", *words, "--device", "cpu", "--precision", "fp32", at=tmp_path)
    assert Video.load(tmp_path / "fox.gif").frames.shape == (2, 512, 512, 3)
