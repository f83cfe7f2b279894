"""Fixtures of all tests: tiny models and files, and how the test processes run.

Large libraries are imported by the fixtures: the process of pytest-xdist that only hands out tests
reads this file too.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from animatediff.model.animated_unet import AnimatedUNet

# One thread for each worker of pytest-xdist, and for every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
# Where a test asks for two, one that waits for the other on a busy machine does not spin meanwhile.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# What is measured of this processor is remembered for these tests only.
CACHE = tempfile.TemporaryDirectory(prefix="animatediff-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
atexit.register(CACHE.cleanup)
# Every module is compiled once and kept: a command that a test starts needs 0.2 s instead of 3.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from tests.shapes import check_shapes  # noqa: E402 - it imports numpy, which reads the environment

check_shapes("animatediff")  # before anything of the package is imported


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepare a process that runs tests."""
    if session.config.pluginmanager.hasplugin("dsession"):
        return  # it hands out tests to workers and runs none
    # What is imported stays. Looking for garbage in it, again and again as it grows, finds none.
    gc.disable()
    import hypothesis
    import torch

    from animatediff.apps.heap import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()  # as commands do: models that come and go are paged in once
    # A busy machine must not fail a test: no example has a deadline, and slow drawing is no fault.
    hypothesis.settings.register_profile(
        "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any-machine")


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and only in what the tests make."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a model is made of more objects than the usual 700
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def the_same_precision_on_every_processor() -> Iterator[None]:
    """What is left to choose is fp32, whatever this processor computes in."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """Processes are killed here, but no machine loses its power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def latents_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the last decoding of animations, for tests that look at nothing but latents."""
    import numpy as np

    from animatediff.sampling import making

    decode = making.decode

    def left_out(latents: Any, *, vae: Any, on_step: Any = None, **options: Any) -> Any:
        if on_step is None:  # what comes after needs the frames: a second pass at a larger size
            return decode(latents, vae=vae, **options)
        _, _, frames, height, width = latents.shape
        side = 2 ** (len(vae.config["block_out_channels"]) - 1)
        return np.zeros((frames, side * height, side * width, 3), np.uint8)

    monkeypatch.setattr(making, "decode", left_out)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with random weights, drawn from a fixed seed."""
    from tests.tiny_models import write_world

    return write_world(tmp_path_factory.mktemp("tiny-world"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's folder with random weights of both encoders."""
    from tests.tiny_models import write_clip

    return write_clip(tmp_path_factory.mktemp("clip") / "vit-tiny")


@pytest.fixture(scope="session")
def new_motion() -> Callable[..., AnimatedUNet]:
    """Make a tiny animated U-Net whose motion modules already say something."""
    from tests import tiny_models

    return tiny_models.new_motion


@pytest.fixture(scope="session")
def tiny_motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A motion module that fits ``tiny_world``."""
    from tests.tiny_models import new_motion

    from animatediff.weights.families import FAMILIES
    from animatediff.weights.motion import write_motion

    path = tmp_path_factory.mktemp("tiny-motion") / "tiny.safetensors"
    return write_motion(path, new_motion(), family=FAMILIES["emoji"])


@pytest.fixture(scope="session")
def tiny_lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 2 that fits ``tiny_world`` and changes what it draws."""
    from tests.tiny_models import write_lora

    return write_lora(tmp_path_factory.mktemp("tiny-lora") / "style.safetensors")
