"""Attention in slices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from animatediff.model.fast.sliced_attention import attention_in_slices


@pytest.mark.parametrize("shape", [(3, 50, 6, 4), (150, 2, 6, 4)])
def test_attention_in_slices_is_attention(shape, monkeypatch):
    query, key, value = (torch.randn(shape) for _ in range(3))
    whole = F.scaled_dot_product_attention(query, key, value)
    sizes = []

    def attend(q, k, v):
        sizes.append(q.shape[0] * q.shape[1])
        return F._saved(q, k, v)

    monkeypatch.setattr(F, "_saved", F.scaled_dot_product_attention, raising=False)
    monkeypatch.setattr(F, "scaled_dot_product_attention", attend)
    sliced = attention_in_slices(query, key, value, limit=64)
    assert max(sizes) <= 64
    torch.testing.assert_close(sliced, whole)
