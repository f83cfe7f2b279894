"""Another process's library for linear layers is used instead of measuring."""

import pytest
import torch

from animatediff.model.fast import linear_library


def test_another_process_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_library, "_TAKEN_OVER", {})
    monkeypatch.setattr(linear_library, "_read", dict)
    monkeypatch.setattr(linear_library, "_write", lambda known: None)
    monkeypatch.setattr(linear_library, "measured", lambda dtype: "onednn")
    try:
        linear_library.take_over({"torch.float32": "torch"})
        assert linear_library.fastest_library(torch.float32) == "torch"
        chosen = linear_library.choices_here()
        assert chosen["torch.float32"] == "torch"
    finally:
        linear_library.fastest_library.cache_clear()
