"""Low memory draws the same animation, with weights that come for one layer at a time.

There is no GPU here. Two memories are told apart on the CPU (``tests/second_memory.py``), and the model
takes the fast paths that it takes on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.changed_weights import with_changed_weights
from tests.parity.test_control_matrix import write_all
from tests.second_memory import TwoMemories
from tests.weights import synthetic

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.runtime import FAST_PATHS, Runtime
from animatediff.sampling.animation import Animation
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded.tensors import tensors_in
from animatediff.sampling.predicting import attached
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights

GPU = Runtime(device="cpu", precision="fp32", without=frozenset(FAST_PATHS) - {"text"})
"""As a model runs on a GPU."""


def drawn_low(
    animator: Animator, request: AnimationRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Animation, TwoMemories]:
    """The animation with weights in another memory, and that memory."""
    read: list[object] = [animator.base.vae]  # what is read at its first use
    for encoder in animator.added.get("image-encoder", ()):
        encoder.no_patches(device=animator.base.device)
    read += [animator.loras.read(path) for path, _ in animator.settled(request).styles]
    low = replace(animator, runtime=replace(animator.runtime, memory="low"))
    waiting = list(tensors_in((*animator.parts.waiting, read)))
    with TwoMemories(waiting) as memories, monkeypatch.context() as patch:
        patch.setattr(attached, "copies_to", lambda device: memories.bring)
        animation = low.animate(request)
        assert memories.here == 0
    return animation, memories


def check(request: AnimationRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same frames with little memory, and again with all of it."""
    animator = Animator.for_request(request, runtime=GPU)
    # Weights of a mapped file begin anywhere, copies at a full line of the cache, and a CPU's kernels
    # round by that. A GPU has copies of both.
    for weight in tensors_in(animator.parts.waiting):
        if not weight.is_meta:
            weight.data = weight.data.clone()
    plain = animator.animate(request)
    low, memories = drawn_low(animator, request, monkeypatch)
    assert torch.equal(low.latents, plain.latents)
    assert np.array_equal(low.frames, plain.frames)
    low_need = replace(animator, runtime=replace(GPU, memory="low")).memory_need(request)
    assert 0 < memories.most <= 2 * low_need.layer
    assert low_need.layer < low_need.peak < animator.memory_need(request).peak
    assert torch.equal(animator.animate(request).latents, plain.latents)


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def steered(
    request: pytest.FixtureRequest,
    small_world: Path,
    small_xl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AnimationRequest:
    """A request with everything that steers."""
    world = {"sd15": small_world, "sdxl": small_xl}[request.param]
    return write_all(tmp_path_factory.mktemp(f"low-{request.param}"), world, request.param)


def test_everything_that_steers_is_the_same(
    steered: AnimationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(replace(steered, steps=1), monkeypatch)


@pytest.fixture
def asked(tiny_world: Path, tiny_motion: Path) -> AnimationRequest:
    return AnimationRequest(
        prompt="a (fox:1.2)",
        model=str(tiny_world),
        motion=str(tiny_motion),
        num_frames=3,
        width=32,
        height=32,
        steps=2,
        guidance=3.0,
        seed=5,
        precision="fp32",
    )


@pytest.mark.parametrize("over", ["0.7", "steps(0=0.3, 1=1)", "frames(0=0.2, 2=1)"])
def test_changed_weights_are_the_same(
    asked: AnimationRequest,
    over: str,
    tiny_lora: Path,
    tmp_path: Path,
    new_motion: Callable[[], AnimatedUNet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = with_changed_weights(
        asked, over, animated=new_motion(), lora=tiny_lora, folder=tmp_path
    )
    check(request, monkeypatch)


def test_frames_to_begin_from_and_a_larger_pass_are_the_same(
    asked: AnimationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    for frame in range(3):
        Image.fromarray(pixels).save(tmp_path / f"{frame:03}.png")
    check(replace(asked, init=str(tmp_path), strength=0.7), monkeypatch)
    check(replace(asked, hires=2.0, hires_by="pixels"), monkeypatch)


@pytest.mark.parametrize("name", ["camera-cmcm", "object-motion"])
def test_motionctrl_is_the_same(
    name: str, asked: AnimationRequest, small_world: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for each in ("motion-v3", name):
        tensors = {key: tensor.float() for key, tensor in synthetic.tensors(each).items()}
        write_weights(tmp_path / f"{each}.safetensors", tensors, metadata={})
    request = replace(
        asked, model=str(small_world), motion=str(tmp_path / "motion-v3.safetensors"),
        num_frames=2, width=64, height=64,
    )  # fmt: skip
    file = f"{tmp_path / name}.safetensors:1"
    if name == "object-motion":
        paths = ("0.2,0.5 0.8,0.5",)
        request = replace(request, object_motion=file, object_paths=paths, object_until=400.0)
    else:
        request = replace(request, camera=file, camera_path="zoom-in:2+roll-left")
    check(request, monkeypatch)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_draws_the_same_with_less_memory(asked: AnimationRequest) -> None:
    most: list[int] = []
    drawn: list[Animation] = []
    for runtime in (Runtime(device="cuda"), Runtime(device="cuda", memory="low")):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        drawn.append(Animator.for_request(asked, runtime=runtime).animate(asked))
        most.append(torch.cuda.max_memory_allocated())
    assert torch.equal(drawn[0].latents, drawn[1].latents)
    assert most[1] < most[0]
