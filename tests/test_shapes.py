"""Shapes in annotations are checked in every call of a test, and none is left out unnoticed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from tests.shapes import check_shapes

from animatediff.evaluation.motion_metrics import largest_change, resized
from animatediff.sampling.ask import WITH_PROMPT, Ask


def test_an_array_of_another_shape_or_dtype_is_an_error() -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert largest_change(frames) == 0
    for wrong in (frames[0], frames[..., :1], frames.astype(np.float32)):
        with pytest.raises(TypeCheckError, match="frames height width 3"):
            largest_change(wrong)


def test_what_is_returned_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert resized(frames, side=4).shape == (2, 4, 4, 3)
    monkeypatch.setattr(np, "stack", lambda parts: np.zeros((2, 4, 5, 3), np.uint8))
    with pytest.raises(TypeCheckError, match="return value"):
        resized(frames, side=4)


def test_a_call_like_one_before_is_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "animatediff_sums.py").write_text(
        "from jaxtyping import Float\n"
        "from torch import Tensor\n"
        'def sums(frames: Float[Tensor, "f c"], *, axis: int) -> Float[Tensor, " f"]:\n'
        "    return frames.sum(axis)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    check_shapes("animatediff_sums")
    sums = importlib.import_module("animatediff_sums").sums
    frames = torch.ones(2, 3)
    for _ in range(2):
        assert sums(frames, axis=1).tolist() == [3, 3]
        with pytest.raises(TypeCheckError, match="return value"):
            sums(frames, axis=0)
        with pytest.raises(TypeCheckError, match="parameters"):
            sums(frames[0], axis=0)
        with pytest.raises(TypeCheckError, match="parameters"):
            sums(frames.int(), axis=1)


def test_fields_of_a_dataclass_agree_with_each_other() -> None:
    latents = torch.zeros(1, 4, 3, 2, 2)
    Ask(latents, torch.tensor(1), 0, WITH_PROMPT, torch.arange(3))
    with pytest.raises(TypeCheckError, match="frames"):
        Ask(latents, torch.tensor(1), 0, WITH_PROMPT, torch.arange(2))


def test_an_annotation_that_could_not_be_checked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Tensor`` imported for type checkers only: jaxtyping would check nothing and say nothing."""
    (tmp_path / "animatediff_example.py").write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from jaxtyping import Float\n"
        "if TYPE_CHECKING:\n"
        "    from torch import Tensor\n"
        'def mean(frames: Float[Tensor, "f c"]) -> float: ...\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    check_shapes("animatediff_example")
    with pytest.raises(NameError, match="Tensor"):
        importlib.import_module("animatediff_example")
