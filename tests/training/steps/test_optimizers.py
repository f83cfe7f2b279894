"""Muon for matrices, AdamW for the rest: what each moves, and that their state survives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from animatediff.runtime import channels_last
from animatediff.training.recipe import OptimizerName
from animatediff.training.steps.muon import Fp32Muon
from animatediff.training.steps.optimizers import Optimizers, matrix_of


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6 * 4, 5))
    return channels_last(net)


def learn(net: nn.Module, optimizers: Optimizers, *, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        net(torch.randn(2, 4, 4, 4, generator=generator)).square().mean().backward()
        optimizers.step(rate=0.01)
        net.zero_grad(set_to_none=True)


def optimizers_of(net: nn.Module, name: OptimizerName) -> Optimizers:
    return Optimizers(dict(net.named_parameters()), name=name, weight_decay=0.0)


def test_a_convolution_is_moved_in_place_as_a_matrix() -> None:
    weight = small_net().get_parameter("0.weight")
    matrix = matrix_of(weight.detach())
    assert matrix.shape == (6, 36)
    assert matrix.data_ptr() == weight.data_ptr()


def test_muon_moves_every_direction_of_a_matrix_by_about_the_same() -> None:
    net = small_net()
    before = net.get_parameter("0.weight").detach().clone()
    learn(net, optimizers_of(net, "muon"), steps=1)
    moved = matrix_of(net.get_parameter("0.weight").detach() - before)
    strengths = torch.linalg.svdvals(moved)
    assert strengths[-1] > 0.5 * strengths[0]
    # Five steps of Newton and Schulz end near 1, times 0.2 sqrt(36) and the rate.
    assert strengths.mean() == pytest.approx(0.01 * 0.2 * 6, rel=0.3)


@pytest.mark.parametrize("shape", [(5, 5), (24, 6), (6, 36)])
def test_in_fp32_muon_moves_as_torch_does_in_bf16(shape: tuple[int, int]) -> None:
    moved: list[torch.Tensor] = []
    for kind in (partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw"), Fp32Muon):
        generator = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.randn(shape, generator=generator))
        before = weight.detach().clone()
        optimizer = kind([weight], lr=0.1, weight_decay=0.1)
        for _ in range(3):
            weight.grad = torch.randn(shape, generator=generator)
            optimizer.step()
        moved.append(weight.detach() - before)
    theirs, ours = moved
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize(("computed", "kind"), [(True, torch.optim.Muon), (False, Fp32Muon)])
def test_bf16_is_not_emulated(
    computed: bool, kind: type[torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "animatediff.training.steps.optimizers.computes_bf16", lambda device: computed
    )
    moment = "0.weight::momentum_buffer"
    net = small_net()
    optimizers = optimizers_of(net, "muon")
    learn(net, optimizers, steps=1)
    assert moment in optimizers.state()
    assert type(optimizers._parts[0]) is kind


def test_muon_leaves_biases_to_adamw() -> None:
    with_muon, with_adam = small_net(), small_net()
    learn(with_muon, optimizers_of(with_muon, "muon"), steps=1)
    learn(with_adam, optimizers_of(with_adam, "adamw"), steps=1)
    assert torch.equal(with_muon.get_parameter("0.bias"), with_adam.get_parameter("0.bias"))
    assert not torch.equal(with_muon.get_parameter("0.weight"), with_adam.get_parameter("0.weight"))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_restored_state_goes_on_bit_for_bit(name: OptimizerName) -> None:
    net = small_net()
    optimizers = optimizers_of(net, name)
    learn(net, optimizers, steps=3)
    state = {key: value.clone() for key, value in optimizers.state().items()}
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    learn(net, optimizers, steps=3, seed=1)

    other = small_net()
    other.load_state_dict(weights)
    restored = optimizers_of(other, name)
    restored.restore(state)
    learn(other, restored, steps=3, seed=1)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in other.state_dict().items())
