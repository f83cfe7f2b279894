"""The memory of an animation is known before it begins, and refused where there is too little."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animatediff.errors import MemoryLimitError
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded import free_memory as memory
from animatediff.sampling.loaded import memory_need
from animatediff.sampling.loaded.free_memory import check_memory
from animatediff.sampling.loaded.memory_need import GIB, Alive, MemoryNeed
from animatediff.sampling.request import AnimationRequest

CPU = torch.device("cpu")
NEED = MemoryNeed(weights=GIB, steps=3 * GIB, decode=2 * GIB)


def test_tensors_are_counted_while_they_are_alive() -> None:
    with Alive() as alive:
        first = torch.zeros(1000) + 1  # 4,000 bytes each, the zeros for a moment
        view = first[:500]
        view.mul_(2)
        del first, view
        second = torch.ones(250)
    assert alive.most == 8000
    assert alive.now == second.nbytes


def test_it_grows_with_pixels_frames_and_guidance(
    animator: Animator, request_of: AnimationRequest
) -> None:
    def steps(**changes: object) -> int:
        return animator.memory_need(replace(request_of, **changes)).steps

    one = steps(num_frames=4)
    assert steps(num_frames=8) == pytest.approx(2 * one, rel=1e-3)
    assert steps(num_frames=4, width=64, height=64) > one
    assert steps(num_frames=4, guidance=1.0) < 0.7 * one


def test_a_compiled_model_is_not_compiled_for_the_trial(
    tiny_world: Path,
    tiny_motion: Path,
    request_of: AnimationRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))

    def compiled(*_: object, **__: object) -> None:
        raise AssertionError("it was called")

    monkeypatch.setattr(animator.animated, "forward", compiled)
    assert animator.memory_need(request_of).steps > 0


def test_a_model_without_values_needs_as_much(
    animator: Animator, request_of: AnimationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_values = animator.memory_need(request_of).steps
    monkeypatch.setattr(memory_need, "SMALL", 0)
    monkeypatch.setattr(memory_need, "_known", {})
    assert animator.memory_need(request_of).steps == pytest.approx(with_values, rel=0.05)


def test_animate_refuses_what_does_not_fit_and_the_trial_is_not_seen(
    tiny_world: Path,
    tiny_motion: Path,
    request_of: AnimationRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    seen: list[object] = []
    animator.animated.unet.register_forward_hook(lambda *_: seen.append(1))
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match="fewer frames"):
        animator.animate(replace(request_of, model=str(tiny_world), motion=str(tiny_motion)))
    assert not seen


def test_the_bound_is_no_less_and_spares_the_trial(
    animator: Animator, request_of: AnimationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (32, 64, 256):
        request = animator.settled(replace(request_of, width=side, height=side))
        need = memory_need.memory_need(request, animator.parts, runtime=animator.runtime)
        bound = memory_need.bound_beside(request, animator.parts, runtime=animator.runtime)
        assert need.beside <= bound
        with monkeypatch.context() as patch:  # denoising alone, wherever decoding needs more
            patch.setattr(memory_need, "_decode", lambda *_: 0)
            bound = memory_need.bound_beside(request, animator.parts, runtime=animator.runtime)
        assert need.steps <= bound < 40 * need.steps
    monkeypatch.setattr(memory_need, "_known", {})
    memory.check_room(request, animator.parts, runtime=animator.runtime)
    assert not memory_need._known


def test_windows_keep_it_from_growing_with_length(
    animator: Animator, request_of: AnimationRequest
) -> None:
    window = replace(request_of, num_frames=16)
    long = animator.memory_need(replace(request_of, num_frames=256, window_length=16))
    whole = animator.memory_need(window)
    latents = 256 * 4 * 8 * 4 * (request_of.width or 32) ** 2
    assert long.steps < whole.steps + latents


def test_weights_are_counted_once(animator: Animator, request_of: AnimationRequest) -> None:
    base = animator.base
    networks = (*base.networks.values(), base.vae, animator.animated)
    tensors = {id(t): t for each in networks for t in (*each.parameters(), *each.buffers())}
    assert animator.memory_need(request_of).weights == sum(t.nbytes for t in tensors.values())


def test_it_is_refused_only_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for free in (4 * GIB, None):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        check_memory(NEED, device=CPU)
    monkeypatch.setattr(memory, "free_memory", lambda device: 3 * GIB)
    with pytest.raises(MemoryLimitError, match=r"3\.0 GiB beside what is loaded, and 3\.0 GiB"):
        check_memory(NEED, device=CPU)


def test_a_container_leaves_what_its_limit_leaves(tmp_path: Path) -> None:
    group = tmp_path / "cgroup"
    group.mkdir()
    (group / "memory.current").write_text("3000\n")
    (group / "memory.stat").write_text("anon 2000\nactive_file 300\ninactive_file 700\n")
    (group / "memory.max").write_text("max\n")
    assert memory.left_in_container(group) is None
    (group / "memory.max").write_text("5000\n")
    assert memory.left_in_container(group) == 3000
    assert memory.left_in_container(tmp_path / "none") is None
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable:      7 kB\n")
    assert memory.available(info) == 7 * 1024
    assert memory.available(tmp_path / "none") is None


CHILD = """
import sys
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
animator = Animator.load("emoji", runtime=Runtime(precision="fp32", threads=1))
size, frames = map(int, sys.argv[1:])
from animatediff.sampling.request import AnimationRequest
asked = AnimationRequest(
    prompt="a fox", num_frames=frames, width=size, height=size, steps=1, from_still=1.0
)
print(animator.memory_need(asked).peak)
animator.animate(asked)
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.weights
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("size", "frames"), [(128, 16), (256, 16), (512, 2)])
def test_the_prediction_is_near_what_a_process_takes(size: int, frames: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(size), str(frames)],
        capture_output=True,
        text=True,
        check=True,
    )
    predicted, taken = map(int, run.stdout.split())
    assert 0.8 < predicted / taken < 1.35
