"""An animator whose weights are in 8 bits draws nearly the same, and its files say so."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.changed_weights import with_changed_weights
from tests.tiny_models import new_motion

from animatediff.errors import InputError
from animatediff.runtime import Quantisation, Runtime
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest

if TYPE_CHECKING:
    from animatediff.sampling.animation import Animation

RUNTIME = Runtime(device="cpu", precision="fp32")
MOST_OFF: dict[Quantisation, float] = {"int8": 0.05, "fp8": 0.25}
"""Of latents, relative to their size."""
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="the extra quantise is not installed"
)


@pytest.fixture
def asked(tiny_world: Path, tiny_motion: Path) -> AnimationRequest:
    return AnimationRequest(
        prompt="a fox",
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


def quantised(request: AnimationRequest, kind: Quantisation) -> Animator:
    return Animator.for_request(request, runtime=replace(RUNTIME, quantise=kind))


def apart(one: Animation, other: Animation) -> float:
    return float((one.latents - other.latents).norm() / other.latents.norm())


@needs_torchao
@pytest.mark.parametrize("kind", list(MOST_OFF))
def test_frames_change_little_and_the_file_says_how(
    asked: AnimationRequest, kind: Quantisation, tmp_path: Path
) -> None:
    plain = Animator.for_request(asked, runtime=RUNTIME)
    small = quantised(asked, kind)
    made = small.animate(asked)
    assert 0 < apart(made, plain.animate(asked)) < MOST_OFF[kind]
    assert torch.equal(small.animate(asked).latents, made.latents)
    path = made.save(tmp_path / "fox.png")
    read = load_request(path)
    assert (made.request.quantise, read.quantise) == (kind, kind)
    again = quantised(read, kind).animate(read)
    assert torch.equal(again.latents, made.latents)
    with pytest.raises(
        InputError, match=f"for weights in {kind}, and this animator's are stored in"
    ):
        plain.animate(read)
    assert small.memory_need(asked).weights < plain.memory_need(asked).weights


@needs_torchao
@pytest.mark.parametrize("over", ["0.7", "steps(0=0.3, 1=1)", "frames(0=0.2, 2=1)"])
def test_everything_that_changes_weights_applies_and_comes_off(
    asked: AnimationRequest, over: str, tiny_lora: Path, tmp_path: Path
) -> None:
    changed = with_changed_weights(
        asked, over, animated=new_motion(), lora=tiny_lora, folder=tmp_path
    )
    adapter, motion = changed.adapter.split(":")[0], changed.motion_loras[0].split(":")[0]
    off = replace(changed, adapter=f"{adapter}:0", motion_loras=(f"{motion}:0",), loras=())
    small = quantised(changed, "int8")
    before = small.animate(off)
    wanted = Animator.for_request(changed, runtime=RUNTIME).animate(changed)
    drawn = small.animate(changed)
    assert apart(drawn, wanted) < min(2 * MOST_OFF["int8"], apart(before, wanted) / 2)
    assert torch.equal(small.animate(off).latents, before.latents)


def test_an_animator_of_plain_weights_refuses_a_request_for_others(
    asked: AnimationRequest,
) -> None:
    plain = Animator.for_request(asked, runtime=RUNTIME)
    assert plain.resolved(asked).quantise is None
    with pytest.raises(InputError, match=r"stored in fp32; load another animator for it\.$"):
        plain.animate(replace(asked, quantise="int8"))


def test_without_torchao_nothing_is_loaded(
    asked: AnimationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = replace(asked, model="no-such-model")
    with pytest.raises(InputError, match=r"needs torchao; pip install 'animatediff\[quantise\]'"):
        quantised(missing, "fp8")
