"""On a GPU, the model predicts what it predicts on a CPU, compiled and by CUDA graphs too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.tiny_models import new_motion
from torch import Tensor

from animatediff.model import AnimatedUNet
from animatediff.model.fast.compiled import Compiled, compile_unet
from animatediff.model.fast.drawing import draw_fast, plan_drawing
from animatediff.model.fast.sliced_attention import CUDA_GRID_LIMIT, attention_in_slices
from animatediff.model.grafts.merging import exchanged
from animatediff.runtime import Runtime

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4
"""Of outputs of a size near 1, in fp32: libraries add up in another order."""


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def made(device: str) -> AnimatedUNet:
    return new_motion(mid=True).eval().requires_grad_(False).to(device)


def given(device: str, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, 4, 3, 4, 4, generator=draw)
    text = torch.randn(2, 5, 32, generator=draw)
    return latents.to(device), torch.tensor(500, device=device), text.to(device)


def off(one: Tensor, other: Tensor) -> float:
    return float((one.cpu() - other.cpu()).abs().max())


@torch.inference_mode()
def test_a_gpu_predicts_what_a_cpu_does() -> None:
    exact = made("cpu")(*given("cpu"))
    animated = made("cuda")
    assert off(animated(*given("cuda")), exact) < TOLERANCE
    drawing = draw_fast(animated, Runtime(device="cuda", precision="fp32"))
    assert off(animated(*given("cuda")), exact) < TOLERANCE
    drawing.remove()


def test_fast_paths_of_processors_are_not_taken() -> None:
    assert plan_drawing(Runtime(device="cuda")) == frozenset({"text"})


@torch.inference_mode()
def test_cuda_graphs_predict_the_same_whatever_changes() -> None:
    animated = made("cuda")
    one, other = given("cuda"), given("cuda", seed=1)
    plain = [animated(*one), animated(*other)]
    compiled = compile_unet(animated)
    found: list[Tensor] = []
    for _ in range(3):  # compiled, recorded, replayed
        found = [animated(*one), animated(*other)]
    assert max(off(a, b) for a, b in zip(found, plain, strict=True)) < TOLERANCE
    compiled.remove()
    animated.set_motion_scale(0.5)
    weight = next(animated.motion.parameters())
    with exchanged({weight: weight.data * 2}):
        changed = animated(*one)
        compiled = compile_unet(animated)
        assert off(animated(*one), changed) < TOLERANCE
        compiled.remove()
    assert off(changed, plain[0]) > TOLERANCE


@torch.inference_mode()
def test_compiled_code_without_cuda_graphs_predicts_the_same() -> None:
    animated = made("cuda")
    plain = animated(*given("cuda"))
    compiled = Compiled(animated, whole=True)
    assert off(animated(*given("cuda")), plain) < TOLERANCE
    compiled.remove()


@torch.inference_mode()
def test_more_sequences_than_a_grid_holds_are_attended() -> None:
    query, key, value = torch.randn(3, 1, CUDA_GRID_LIMIT + 7, 4, 8, device="cuda")
    found = attention_in_slices(query, key, value, limit=CUDA_GRID_LIMIT)
    scores = (query @ key.mT * 8**-0.5).softmax(-1)
    assert off(found, scores @ value) < TOLERANCE


def test_a_step_is_measured_on_the_gpu(tmp_path: Path) -> None:
    words = ["--width", "0.2", "--frames", "2", "--rounds", "1", "--device", "cuda"]
    program = ROOT / "benchmarks" / "measure.py"
    subprocess.run(
        [sys.executable, program, *words, "--out", tmp_path], check=True, capture_output=True
    )
    (report,) = tmp_path.glob("denoising-step-fp32_cuda_*.md")
    assert "peak_mib" in report.read_text()
