"""Weights in 8 bits take less memory, change little, and are exchanged as exactly as others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch
from tests.tiny_models import new_unet
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model import AnimatedUNet, exchanged, merged
from animatediff.model import quantised as module
from animatediff.model.eight_bits import bytes_of, expanded, in_eight_bits, like, stored_in
from animatediff.model.fast import linear
from animatediff.model.fast.drawing import Drawing
from animatediff.model.grafts.weight_delta import Change, FullDelta
from animatediff.model.quantised import check_quantisation, linear_layers, quantise
from animatediff.runtime import FAST_PATHS, Quantisation, Runtime

CPU = torch.device("cpu")
MOST_OFF: dict[Quantisation, float] = {"int8": 0.05, "fp8": 0.25}
"""Relative to the size of a prediction; fp8 keeps three bits of each number."""
KINDS = tuple(MOST_OFF)
DRAWS = frozenset(FAST_PATHS) - {"norms", "temporal", "small-maps"}
COMPILING = """
import sys
import torch
from tests.tiny_models import new_unet
from torch._dynamo.utils import counters
from animatediff.model import AnimatedUNet, exchanged, merged
from animatediff.model.fast.compiled import Compiled
from animatediff.model.grafts.weight_delta import Change, FullDelta
from animatediff.model.quantised import linear_layers, quantise

torch.set_num_threads(1)
animated = AnimatedUNet(new_unet(), mid=True).eval().requires_grad_(False)
quantise(animated, "int8")
layers = list(linear_layers(animated))
changes = [Change(x, "weight", FullDelta(0.1 * torch.randn(x.weight.shape))) for x in layers]
values = merged([(changes, 1.0)])
given = torch.randn(2, 4, 3, 8, 8), torch.tensor(500), torch.randn(2, 7, 32)
with torch.inference_mode():
    plain = animated(*given)
    with exchanged(values):
        changed = animated(*given)
    compiled = Compiled(animated, backend=sys.argv[1], whole=True)
    torch.testing.assert_close(animated(*given), plain, atol=1e-4, rtol=1e-4)
    with exchanged(values):
        torch.testing.assert_close(animated(*given), changed, atol=1e-4, rtol=1e-4)
assert not torch.allclose(plain, changed, atol=1e-2)
assert counters["stats"]["unique_graphs"] == 1, counters["stats"]
"""
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="the extra quantise is not installed"
)


@pytest.fixture
def animated() -> AnimatedUNet:
    torch.manual_seed(0)
    animated = AnimatedUNet(new_unet(), mid=True).eval().requires_grad_(False)
    for layer in animated.motion.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return animated


def predicted(animated: AnimatedUNet) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    width: Any = animated.unet.config["cross_attention_dim"]
    latents = torch.randn(2, 4, 3, 8, 8, generator=draw)
    text = torch.randn(2, 7, width, generator=draw)
    with torch.inference_mode():
        return animated(latents, torch.tensor(500), text)


def drawn(animated: AnimatedUNet) -> Tensor:
    drawing = Drawing(animated, DRAWS)
    try:
        return predicted(animated)
    finally:
        drawing.remove()


def bits(weight: Tensor) -> list[Tensor]:
    return [part.clone() for part in stored_in(weight)]


@needs_torchao
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_change_little_for_a_quarter_of_the_memory(
    animated: AnimatedUNet, kind: Quantisation
) -> None:
    plain = predicted(animated)
    layers = list(linear_layers(animated))
    before = sum(bytes_of(layer.weight) for layer in layers)
    quantise(animated, kind)
    assert sum(bytes_of(layer.weight) for layer in layers) < 0.4 * before  # rows are short here
    rounded = predicted(animated)
    assert 0 < (rounded - plain).norm() / plain.norm() < MOST_OFF[kind]


@needs_torchao
@pytest.mark.parametrize("kind", KINDS)
def test_fast_paths_compute_with_weights_that_stay_in_eight_bits(
    animated: AnimatedUNet, kind: Quantisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "LEAST_WORK", 0)
    monkeypatch.setattr(linear, "NARROWEST", 1)
    quantise(animated, kind)
    plain = predicted(animated)
    torch.testing.assert_close(drawn(animated), plain, atol=1e-5, rtol=1e-5)
    assert all(stored_in(layer.weight)[0] is not layer.weight for layer in linear_layers(animated))
    assert torch.equal(predicted(animated), plain)


@needs_torchao
@pytest.mark.parametrize("kind", KINDS)
def test_merged_changes_apply_and_come_off_bit_for_bit(
    animated: AnimatedUNet, kind: Quantisation
) -> None:
    layers = list(linear_layers(animated))
    deltas = {layer: 0.1 * torch.randn_like(layer.weight) for layer in layers}
    changes = [Change(layer, "weight", FullDelta(delta)) for layer, delta in deltas.items()]
    with exchanged(merged([(changes, 0.5)])):
        asked = predicted(animated)
    quantise(animated, kind)
    own, before = predicted(animated), [bits(layer.weight) for layer in layers]
    values = merged([(changes, 0.5)])
    with exchanged(values), exchanged(merged([(changes, 0.0)])):
        torch.testing.assert_close(expanded(layers[0].weight), expanded(values[layers[0].weight]))
        changed = drawn(animated)
    assert (changed - asked).norm() / asked.norm() < 1.5 * MOST_OFF[kind]
    assert (changed - own).norm() / own.norm() > 1.5 * MOST_OFF[kind]
    after = [bits(layer.weight) for layer in layers]
    assert all(
        torch.equal(one.view(torch.uint8), other.view(torch.uint8))
        for a, b in zip(before, after, strict=True)
        for one, other in zip(a, b, strict=True)
    )
    assert torch.equal(predicted(animated), own)


@needs_torchao
def test_kept_text_is_read_again_when_weights_change(animated: AnimatedUNet) -> None:
    quantise(animated, "int8")
    layers = [
        each
        for name, each in animated.unet.named_modules()
        if name.endswith(("attn2.to_k", "attn2.to_v"))
    ]
    changes = [Change(x, "weight", FullDelta(torch.ones(x.weight.shape))) for x in layers]
    values = merged([(changes, 1.0)])
    drawing = Drawing(animated, frozenset({"text"}))
    try:
        own = predicted(animated)
        with exchanged(values):
            changed = predicted(animated)
        assert torch.equal(predicted(animated), own)
    finally:
        drawing.remove()
    with exchanged(values):
        torch.testing.assert_close(changed, predicted(animated), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(changed, own, atol=1e-3)


@needs_torchao
@pytest.mark.slow
def test_a_quantised_model_compiles_to_one_graph_whatever_its_weights() -> None:
    """In a process of its own, as shape checks would not compile."""
    run = subprocess.run([sys.executable, "-c", COMPILING, "eager"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


@needs_torchao
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_weight_keeps_its_shape_and_dtype(dtype: torch.dtype) -> None:
    values = torch.randn(48, 64, dtype=dtype)
    for kind in KINDS:
        check_quantisation(kind, device=CPU, dtype=dtype)
        weight = in_eight_bits(values, kind)
        assert (weight.shape, weight.dtype) == (values.shape, dtype)
        assert {part.dtype.itemsize for part in stored_in(weight) if part.ndim > 1} >= {1}
        again = like(weight, expanded(weight).float())
        torch.testing.assert_close(expanded(again), expanded(weight), atol=2e-2, rtol=2e-2)


def test_a_plain_weight_is_left_as_it_is() -> None:
    weight = torch.randn(3, 4, dtype=torch.bfloat16)
    assert stored_in(weight) == (weight,)
    assert expanded(weight) is weight
    assert bytes_of(weight) == 24
    assert like(weight, torch.ones(3, 4)).dtype == torch.bfloat16


def test_a_machine_without_torchao_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--quantise int8 needs torchao; pip install"):
        check_quantisation("int8", device=CPU, dtype=torch.float32)


def test_a_device_that_cannot_compute_so_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(values: Tensor, kind: Quantisation) -> Tensor:
        raise RuntimeError("no kernel for it\nand a trace")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(module, "in_eight_bits", refuse)
    match = (
        r"--quantise fp8 cannot be computed on cpu in bfloat16 \(no kernel for it\); use another"
    )
    with pytest.raises(InputError, match=match):
        check_quantisation("fp8", device=CPU, dtype=torch.bfloat16)


def test_low_memory_is_refused_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match="leave out --quantise or --memory low"):
        Runtime(device="cuda", memory="low", quantise="int8").apply()
