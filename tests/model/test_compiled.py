"""A grafted model compiles to one graph, whatever its scales, weights and timesteps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_models import new_unet

from animatediff.errors import InputError
from animatediff.model import AnimatedUNet
from animatediff.model.fast import compiled as module
from animatediff.model.fast.compiled import Compiled, compile_unet
from animatediff.model.fast.drawing import Drawing, draw_fast
from animatediff.runtime import Runtime

PROGRAM = Path(__file__).with_name("compiled.py")


@pytest.fixture
def animated() -> AnimatedUNet:
    return AnimatedUNet(new_unet(), mid=True).eval().requires_grad_(False)


@pytest.mark.slow
def test_scales_weights_timesteps_and_strengths_do_not_recompile() -> None:
    run = subprocess.run([sys.executable, PROGRAM, "eager"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    counts = json.loads(run.stdout)
    assert counts["first"] == 1
    assert counts["motion scales"] == counts["first"]
    assert counts["weights and timesteps"] == counts["first"]
    # What is attached makes another graph; how much of it does not.
    assert counts["control strengths"] == counts["control"]
    assert counts["adapter scales"] == counts["adapter"]
    assert counts["motion strengths"] == counts["motion strength"]
    assert counts["end"] == counts["motion strengths"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiled_code_predicts_what_the_model_does(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, PROGRAM, "inductor"],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
            "HOME": str(tmp_path),
        },
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert set(json.loads(run.stdout).values()) == {1}
    assert any(tmp_path.iterdir())


def stub_of_compile(calls: list[dict[str, Any]]) -> Any:
    """A stub of ``torch.compile`` that keeps what it was given and compiles nothing."""

    def compile_nothing(forward: Any, **given: Any) -> Any:
        calls.append(given)
        return forward

    return compile_nothing


def test_a_runtime_that_compiles_takes_no_other_path(
    animated: AnimatedUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", stub_of_compile([]))
    runtime = Runtime(device="cpu", precision="fp32")
    assert isinstance(draw_fast(animated, runtime), Drawing)
    compiled = draw_fast(animated, replace(runtime, compile=True))
    assert isinstance(compiled, Compiled)
    compiled.remove()
    compiled.remove()
    assert "forward" not in vars(animated)


def test_a_held_scale_is_the_scale(animated: AnimatedUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", stub_of_compile([]))
    for weights in animated.motion.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    given = (torch.randn(1, 4, 2, 4, 4), torch.tensor(500), torch.randn(1, 5, 32))
    for scale in (0.0, 0.5, 1.0):
        animated.set_motion_scale(scale)
        plain = animated(*given)
        compiled = compile_unet(animated)
        animated.set_motion_scale(2.0)
        assert not torch.equal(animated(*given), plain)
        with torch.inference_mode():
            animated.set_motion_scale(scale)
        assert torch.equal(animated(*given), plain)
        compiled.remove()
        assert torch.equal(animated(*given), plain)


def test_cuda_graphs_are_for_gpus_and_their_results_are_copied(
    animated: AnimatedUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stub of the compiler, so that no GPU is needed; tests/gpu runs real CUDA graphs."""
    calls: list[dict[str, Any]] = []
    marked: list[bool] = []
    monkeypatch.setattr(torch, "compile", stub_of_compile(calls))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(True))
    given = (torch.randn(1, 4, 2, 4, 4), torch.tensor(500), torch.randn(1, 5, 32))
    plain = animated(*given)
    compile_unet(animated).remove()
    compiled = Compiled(animated, cuda_graphs=True)
    first, second = animated(*given), animated(*given)
    compiled.remove()
    assert torch.equal(first, plain)
    assert first.data_ptr() != second.data_ptr()
    assert [call["mode"] for call in calls] == [None, "reduce-overhead"]
    assert len(marked) == 2


def test_without_a_compiler_the_option_is_refused(
    animated: AnimatedUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="--compile needs a C\\+\\+ compiler"):
        compile_unet(animated)
