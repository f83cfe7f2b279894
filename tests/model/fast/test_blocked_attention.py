"""Attention in blocks is attention, in the forward and the backward pass, however large scores are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from animatediff.model.fast import blocked_attention
from animatediff.model.fast.blocked_attention import attention_in_blocks
from animatediff.model.fast.drawing import plan_drawing
from animatediff.model.fast.text.cached_text import CachedText
from animatediff.runtime import Runtime


def drawn(*, size: float = 1.0, keys: int = 24) -> list[Tensor]:
    """Queries, keys and values as projections make them: views of tokens."""
    draw = torch.Generator().manual_seed(0)
    tokens = [size * torch.randn(2, n, 3 * 8, generator=draw) for n in (16, keys, keys)]
    tokens[2] /= size
    return [x.unflatten(2, (3, 8)).transpose(1, 2) for x in tokens]


def with_gradients(given: list[Tensor], *, exact: bool = False) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in given]
    attend = F.scaled_dot_product_attention if exact else attention_in_blocks
    output = attend(*leaves)
    draw = torch.Generator().manual_seed(1)
    output.backward(torch.randn(output.shape, generator=draw).to(output))
    return [output.detach(), *(x.grad for x in leaves if x.grad is not None)]


def off(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize("block", [1 << 20, 16 * 24 * 8 * 2, 5 * 24 * 8, 1])
def test_it_is_attention_whatever_the_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_attention, "BLOCK", block)
    given = [x.double() for x in drawn()]
    exact = with_gradients(given, exact=True)
    for one, other in zip(with_gradients(given), exact, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)  # added up in fp32


@pytest.mark.parametrize("size", [1.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_scores_are_not_rounded_coarsely(size: float, dtype: torch.dtype) -> None:
    given = [x.to(dtype) for x in drawn(size=size)]
    exact = with_gradients([x.double() for x in given], exact=True)
    fused = with_gradients(given, exact=True)
    found = with_gradients(given)
    assert off(found[0], exact[0]) < 3 * off(fused[0], exact[0])
    most = 0.02 if dtype == torch.bfloat16 else 0.003
    assert all(off(one, other) < most for one, other in zip(found, exact, strict=True))


def test_autocast_leaves_it_in_half_precision() -> None:
    given = [x.bfloat16() for x in drawn()]
    plain = attention_in_blocks(*given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention_in_blocks(*given), plain)


def test_only_what_it_is_given_is_saved() -> None:
    kept: list[Tensor] = []
    given = [x.requires_grad_() for x in drawn()]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        attention_in_blocks(*given)
    assert {x.data_ptr() for x in kept} == {x.data_ptr() for x in given}


def test_an_image_model_in_half_precision_attends_in_blocks_as_it_does_without() -> None:
    torch.manual_seed(0)
    layer = Attention(64, heads=2, dim_head=32).eval().requires_grad_(False).bfloat16()
    tokens = torch.randn(3, 20, 64).bfloat16()
    with torch.inference_mode():
        layer.set_processor(CachedText())
        plain = layer(tokens)
        layer.set_processor(CachedText(in_blocks=True))
        found = layer(tokens)
        layer.float()
        exact = layer(tokens.float())
    assert not torch.equal(found, plain)
    assert off(found, exact) < 1.5 * off(plain, exact)


def test_blocks_are_for_half_precision_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    bf16, fp32 = (Runtime(device="cpu", precision=each) for each in ("bf16", "fp32"))
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"amx_bf16": has})
        assert ("attention" in plan_drawing(bf16)) != has
        assert "attention" not in plan_drawing(fp32)
