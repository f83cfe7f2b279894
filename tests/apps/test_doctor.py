"""The doctor finds what is wrong, and says so by its exit code."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from animatediff.apps.commands import doctor as office
from animatediff.apps.commands.doctor import DoctorOptions, doctor
from animatediff.weights.finding import builtin


def test_a_healthy_installation_is_well(
    tiny_motion: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builtin, "BUILTIN", tiny_motion.parent)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["torch>=2.10", "numpy>=2.1"])
    assert doctor(DoctorOptions()) == 0
    printed = capsys.readouterr().out
    assert "tiny.safetensors" in printed
    assert "All is well." in printed


def test_a_truncated_weight_file_is_found(
    tiny_motion: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "cut.safetensors").write_bytes(tiny_motion.read_bytes()[:-1])
    monkeypatch.setattr(builtin, "BUILTIN", tmp_path)
    assert doctor(DoctorOptions()) == 1
    assert "BAD  weights" in capsys.readouterr().out


def test_an_unsafe_or_missing_dependency_is_found() -> None:
    assert office._version(Requirement("torch>=2.10")).well
    old = office._version(Requirement("torch>=999"))
    assert not old.well
    assert "pip install 'torch>=999'" in old.text
    assert not office._version(Requirement("no-such-package>=1")).well
