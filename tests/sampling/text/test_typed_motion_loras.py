"""A MotionLoRA in a prompt, as users of A1111 type it, is that of ``--motion-lora``."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from animatediff.errors import InputError
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.typed_motion_loras import with_typed_motion_loras
from animatediff.weights.finding.builtin import BUILTIN, resolve

ZOOM = BUILTIN / "motion-lora" / "zoom-in.safetensors"


@pytest.fixture
def webui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A1111's folder, where LoRAs of both kinds lie side by side."""
    folder = tmp_path / "webui" / "models" / "Lora"
    folder.mkdir(parents=True)
    shutil.copy(ZOOM, folder / "v2_lora_ZoomIn.safetensors")
    shutil.copy(BUILTIN / "lora" / "noto.safetensors", folder / "style.safetensors")
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(tmp_path / "webui"))
    return folder


@pytest.mark.parametrize("name", ["v2_lora_ZoomIn", "zoom-in", str(ZOOM)])
def test_a_typed_motion_lora_is_one_of_the_request(webui: Path, name: str) -> None:
    typed = AnimationRequest(f"a fox <lora:{name}:0.7>, running", loras=("style:1",))
    moved = with_typed_motion_loras(typed)
    assert moved.prompt == "a fox , running"
    assert moved.motion_loras == (f"{name}:0.7",)
    assert moved.styles == ("style:1",)
    assert Loaded.of(typed) == Loaded.of(moved)
    assert with_typed_motion_loras(moved) == moved


def test_it_counts_for_all_frames_wherever_it_is_typed(webui: Path) -> None:
    typed = AnimationRequest(
        "",
        prompts={"0": "a fox <lora:zoom-in:0.5> <lora:style:1>", "8": "a hare <lora:zoom-in:0.5>"},
    )
    moved = with_typed_motion_loras(replace(typed, motion_loras=("zoom-in:1", "pan-left:1")))
    assert moved.prompts == {"0": "a fox  <lora:style:1>", "8": "a hare "}
    assert moved.motion_loras == ("pan-left:1", "zoom-in:0.5")
    assert moved.styles == ("style:1",)
    several = replace(typed, prompts={"0": "<lora:zoom-in:1>", "8": "<lora:zoom-in:0.5>"})
    with pytest.raises(InputError, match="with several scales"):
        with_typed_motion_loras(several)


def test_others_stay_where_they_are(webui: Path) -> None:
    for prompt in ("a fox", "a fox <lora:style:0.5>", "a fox <lora:nothere:1>"):
        request = AnimationRequest(prompt)
        assert with_typed_motion_loras(request) == request


def test_a_name_of_another_role_is_said() -> None:
    with pytest.raises(InputError, match=r"no lora 'zoom-in', but a motion-lora .* --motion-lora"):
        resolve("lora", "zoom-in")
    with pytest.raises(InputError, match=r"no motion 'noto', but a lora .* give it to --lora"):
        resolve("motion", "noto")
