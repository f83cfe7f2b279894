"""Changes of weights: each equals its defining formula, written here once more and differently."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from animatediff.model.grafts.merging import exchanged, merged
from animatediff.model.grafts.weight_delta import (
    Change,
    DecomposedDelta,
    FullDelta,
    GainDelta,
    HadamardDelta,
    KroneckerDelta,
    LowRankDelta,
    OrthogonalDelta,
    shaped_like,
)

TOLERANCE = 1e-6


def drawn(*shape: int, seed: int = 0, std: float = 0.3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * std


def test_lora_is_alpha_over_rank_times_up_down() -> None:
    down, up, weight = drawn(4, 6), drawn(8, 4, seed=1), drawn(8, 6, seed=2)
    wanted = torch.zeros(8, 6, dtype=torch.float64)
    for o in range(8):
        for i in range(6):
            wanted[o, i] = 0.7 * 2 / 4 * sum(float(up[o, r]) * float(down[r, i]) for r in range(4))
    found = LowRankDelta(down, up, alpha=torch.tensor(2.0)).of(weight, scale=0.7)
    assert (found - wanted).abs().max() < TOLERANCE
    assert torch.equal(
        LowRankDelta(down, up).of(weight, scale=1),
        LowRankDelta(down, up, alpha=4.0).of(weight, scale=1),
    )


def test_locon_is_one_convolution_after_the_other() -> None:
    down, up = drawn(4, 6, 3, 3), drawn(8, 4, 1, 1, seed=1)
    pictures = drawn(2, 6, 7, 7, seed=2)
    change = LowRankDelta(down, up, alpha=1.0).of(drawn(8, 6, 3, 3), scale=1.0)
    one = nn.functional.conv2d(pictures, change)
    other = nn.functional.conv2d(nn.functional.conv2d(pictures, down), up) / 4
    assert (one - other).abs().max() < 1e-5
    mid = drawn(4, 4, 3, 3, seed=3)
    down = drawn(4, 6, 1, 1)
    change = LowRankDelta(down, up, mid).of(drawn(8, 6, 3, 3), scale=1.0)
    one = nn.functional.conv2d(pictures, change)
    for kernel in (down, mid, up):
        pictures = nn.functional.conv2d(pictures, kernel)
    assert (one - pictures).abs().max() < 1e-5


def test_loha_is_the_elementwise_product_of_two() -> None:
    b1, a1, b2, a2 = drawn(8, 4), drawn(4, 54, seed=1), drawn(8, 4, seed=2), drawn(4, 54, seed=3)
    found = HadamardDelta((b1, a1), (b2, a2), alpha=2.0).of(drawn(8, 6, 3, 3), scale=0.5)
    wanted = 0.5 * (2 / 4) * (b1.double() @ a1.double()) * (b2.double() @ a2.double())
    assert (shaped_like(drawn(8, 6, 3, 3), found) - wanted.view(8, 6, 3, 3)).abs().max() < TOLERANCE


def test_loha_with_cores_sums_over_both_ranks() -> None:
    pairs = [(drawn(2, 5, seed=s), drawn(2, 4, seed=s + 1)) for s in (0, 2)]
    cores = drawn(2, 2, 3, 3, seed=5), drawn(2, 2, 3, 3, seed=6)
    parts: list[Tensor] = []
    for core, (b, a) in zip(cores, pairs, strict=True):
        whole = torch.zeros(5, 4, 3, 3)
        for r in range(2):
            for s in range(2):
                whole += b[r][:, None, None, None] * a[s][None, :, None, None] * core[r, s]
        parts.append(whole)
    found = HadamardDelta(pairs[0], pairs[1], cores).of(drawn(5, 4, 3, 3), scale=1.0)
    assert (found - parts[0] * parts[1]).abs().max() < TOLERANCE


@pytest.mark.parametrize("whole", [True, False])
def test_lokr_places_a_copy_of_one_factor_at_each_number_of_the_other(whole: bool) -> None:
    left = drawn(2, 3)
    b, a = drawn(4, 2, seed=1), drawn(2, 5, seed=2)
    right = b @ a
    factors = (right,) if whole else (b, a)
    found = KroneckerDelta((left,), factors, alpha=torch.tensor(1.0)).of(drawn(8, 15), scale=1.0)
    rows = [torch.cat([left[i, j] * right for j in range(3)], dim=1) for i in range(2)]
    wanted = torch.cat(rows) * (1 if whole else 1 / 2)
    assert (found - wanted).abs().max() < TOLERANCE


def test_lokr_of_a_convolution_repeats_its_kernel() -> None:
    left, right = drawn(2, 3), drawn(4, 2, 3, 3, seed=1)
    found = KroneckerDelta((left,), (right,)).of(drawn(8, 6, 3, 3), scale=1.0)
    for i, j in ((0, 0), (1, 2)):
        block = found[4 * i : 4 * i + 4, 2 * j : 2 * j + 2]
        assert (block - left[i, j] * right).abs().max() < TOLERANCE
    w2_a, w2_b, core = drawn(2, 4, seed=3), drawn(2, 2, seed=4), drawn(2, 2, 3, 3, seed=5)
    right = torch.zeros(4, 2, 3, 3)
    for r in range(2):
        for s in range(2):
            right += w2_a[r][:, None, None, None] * w2_b[s][None, :, None, None] * core[r, s]
    tucker = KroneckerDelta((left,), (w2_a, w2_b), core, alpha=2.0).of(drawn(8, 6, 3, 3), scale=1)
    plain = KroneckerDelta((left,), (right,)).of(drawn(8, 6, 3, 3), scale=1.0)
    assert (tucker - plain).abs().max() < TOLERANCE


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 3, 3)])
@pytest.mark.parametrize("per", ["output", "input"])
def test_dora_gives_every_row_or_column_its_length(shape: tuple[int, ...], per: str) -> None:
    weight = drawn(*shape)
    direction = FullDelta(drawn(*shape, seed=1))
    axis = 0 if per == "output" else 1
    magnitude = drawn(shape[axis], seed=2).abs() + 0.5
    stored = magnitude.view(*[-1 if d == axis else 1 for d in range(len(shape))])
    change = DecomposedDelta(direction, stored).of(weight, scale=1.0)
    moved = (weight + direction.difference).transpose(0, axis)
    result = (weight + change).transpose(0, axis)
    for row, (unscaled, scaled) in enumerate(zip(moved, result, strict=True)):
        assert math.isclose(float(scaled.norm()), float(magnitude[row]), rel_tol=1e-5)
        wanted = unscaled * (magnitude[row] / math.sqrt(float((unscaled**2).sum())))
        assert (scaled - wanted).abs().max() < TOLERANCE
    half = DecomposedDelta(direction, stored).of(weight, scale=0.5)
    assert (2 * half - change).abs().max() < TOLERANCE


def test_dora_of_a_plain_row_is_for_outputs() -> None:
    weight, magnitude = drawn(6, 6), drawn(6, seed=1).abs()
    delta = LowRankDelta(drawn(2, 6), drawn(6, 2))
    change = DecomposedDelta(delta, magnitude).of(weight, scale=1.0)
    assert torch.allclose((weight + change).norm(dim=1), magnitude, atol=1e-5)


def test_oft_turns_blocks_of_outputs_and_keeps_their_lengths() -> None:
    weight, blocks = drawn(8, 6), drawn(2, 4, 4, seed=1)
    change = OrthogonalDelta(blocks, torch.tensor(0.0)).of(weight, scale=1.0)
    wanted = torch.zeros(8, 6, dtype=torch.float64)
    for k in range(2):
        skew = (blocks[k] - blocks[k].T).double()
        eye = torch.eye(4, dtype=torch.float64)
        rotation = torch.linalg.solve(eye - skew.T, (eye + skew).T).T
        assert torch.allclose(rotation @ rotation.T, eye, atol=1e-6)
        wanted[4 * k : 4 * k + 4] = rotation.T @ weight[4 * k : 4 * k + 4].double()
    assert (weight + change - wanted).abs().max() < TOLERANCE
    assert torch.allclose((weight + change).norm(dim=0), weight.norm(dim=0), atol=1e-5)


def test_oft_is_bounded_by_its_constraint_and_rescaled() -> None:
    weight, blocks = drawn(8, 6), drawn(2, 4, 4, seed=1)
    skew = blocks - blocks.transpose(1, 2)
    alpha = 0.25 * float(skew.norm()) / 8
    bounded = OrthogonalDelta(blocks, alpha).of(weight, scale=1.0)
    quarter = OrthogonalDelta(blocks * 0.25).of(weight, scale=1.0)
    assert (bounded - quarter).abs().max() < 1e-5
    loose = OrthogonalDelta(blocks, 100.0).of(weight, scale=1.0)
    assert torch.allclose(loose, OrthogonalDelta(blocks).of(weight, scale=1.0))
    gain = drawn(8, 1, seed=3)
    rescaled = OrthogonalDelta(blocks, rescale=gain).of(weight, scale=1.0)
    assert torch.allclose(weight + rescaled, gain * (weight + loose), atol=1e-6)


def test_boft_is_one_rotation_after_another_on_interleaved_rows() -> None:
    weight, blocks = drawn(8, 5), drawn(2, 2, 4, 4, seed=1)
    change = OrthogonalDelta(blocks).of(weight, scale=1.0)
    wanted = weight.double()
    for factor in range(2):
        apart = 2**factor * 2
        order = [
            c * 2 * apart + g * apart + k
            for c in range(8 // (2 * apart))
            for k in range(apart)
            for g in range(2)
        ]
        rotation = torch.zeros(8, 8, dtype=torch.float64)
        for d in range(2):
            skew = (blocks[factor, d] - blocks[factor, d].T).double()
            eye = torch.eye(4, dtype=torch.float64)
            rotation[4 * d : 4 * d + 4, 4 * d : 4 * d + 4] = (eye + skew) @ (eye - skew).inverse()
        permutation = torch.eye(8, dtype=torch.float64)[order]
        wanted = permutation.T @ rotation @ permutation @ wanted
    assert (weight + change - wanted).abs().max() < TOLERANCE


def test_ia3_multiplies_outputs_or_inputs() -> None:
    weight, outputs, inputs = drawn(8, 6), drawn(8, 1, seed=1), drawn(1, 6, seed=2)
    assert torch.allclose(weight + GainDelta(outputs).of(weight, scale=1.0), weight * (1 + outputs))
    found = GainDelta(inputs, on_input=True).of(weight, scale=0.5)
    assert torch.allclose(weight + found, weight * (1 + 0.5 * inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_merging_adds_up_in_any_order_and_restores_every_bit(dtype: torch.dtype) -> None:
    layer = nn.Linear(6, 8).to(dtype)
    own, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    one = [
        Change(layer, "weight", FullDelta(drawn(8, 6))),
        Change(layer, "bias", FullDelta(drawn(8))),
    ]
    two = [
        Change(layer, "weight", DecomposedDelta(FullDelta(drawn(8, 6, seed=3)), drawn(8, seed=4)))
    ]
    seen: list[Tensor] = []
    for sets in ([(one, 0.5), (two, 2.0)], [(two, 2.0), (one, 0.5)]):
        with exchanged(merged(sets)):
            seen.append(layer.weight.detach().clone())
        assert torch.equal(layer.weight, own)
        assert torch.equal(layer.bias, bias)
    assert torch.allclose(
        seen[0].float(), seen[1].float(), atol=1e-6 if dtype == torch.float32 else 1e-2
    )
    assert not torch.equal(seen[0], own)
    with exchanged(merged([(one, 0.0)])):
        assert torch.equal(layer.weight, own)


def test_weights_come_back_when_the_work_fails() -> None:
    layer = nn.Linear(6, 8)
    own = layer.weight.detach().clone()
    good = Change(layer, "weight", FullDelta(drawn(8, 6)))
    bad = Change(nn.Linear(6, 8), "weight", FullDelta(drawn(6, 8)))
    with pytest.raises(ValueError, match="a change of"):
        merged([([good, bad], 1.0)])
    assert torch.equal(layer.weight, own)
