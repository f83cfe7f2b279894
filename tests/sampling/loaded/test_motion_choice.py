"""A personalised checkpoint without --motion is answered before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.weights import synthetic

from animatediff.errors import FileError, InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded.motion_choice import check_motion
from animatediff.weights.finding.builtin import resolve, resolve_model
from animatediff.weights.finding.model_folders import ModelFile


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(tmp_path / "models"))
    (tmp_path / "models" / "motion").mkdir(parents=True)
    return tmp_path / "models"


def test_the_built_in_motion_for_another_model_names_the_motion_files_that_fit(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = synthetic.write_sparse(folders / "dreams.safetensors", "sd15")
    model, motion = ModelFile("dreams", checkpoint), resolve("motion", "emoji")
    with pytest.raises(InputError, match=r"fits only the built-in model; .*models pull v3 fetches"):
        check_motion(model, motion)
    synthetic.write_sparse(folders / "motion" / "mm_v3.safetensors", "motion-v3")
    synthetic.write_sparse(folders / "motion" / "mm_xl.safetensors", "motion-sdxl")
    with pytest.raises(InputError, match=r"give --motion mm_v3, or --motion none"):
        check_motion(model, motion)

    def fail(*_: object, **__: object) -> None:
        pytest.fail("the image model was read first")

    monkeypatch.setattr("animatediff.sampling.loaded.loading.plan_base_model", fail)
    with pytest.raises(InputError, match="give --motion mm_v3"):
        Animator.load(str(checkpoint))


def test_what_may_fit_is_not_refused(folders: Path, tiny_world: Path, tiny_motion: Path) -> None:
    checkpoint = synthetic.write_sparse(folders / "dreams.safetensors", "sd15")
    model, built_in = ModelFile("dreams", checkpoint), resolve("motion", "emoji")
    check_motion(model, None)
    check_motion(model, tiny_motion)
    check_motion(resolve_model("emoji"), built_in)
    check_motion(resolve_model(str(tiny_world)), built_in)


def test_another_models_motion_for_the_built_in_model_is_answered_too(folders: Path) -> None:
    """It listed the shapes of 234 tensors, after the model was built."""
    motion = synthetic.write_sparse(folders / "motion" / "mm_v3.safetensors", "motion-v3")
    with pytest.raises(InputError, match=r"for Stable Diffusion 1\.5, and .* give an image model"):
        check_motion(resolve_model("emoji"), motion)
    ours = synthetic.write_sparse(folders / "trained.safetensors", "lora-sd15")
    check_motion(resolve_model("emoji"), ours)  # its reader says that it is no motion module


def test_a_file_of_another_kind_is_not_taken_for_an_image_model(folders: Path) -> None:
    motion = synthetic.write_sparse(folders / "mm.safetensors", "motion-v3")
    with pytest.raises(FileError, match="--model needs an image model: give it to --motion"):
        Animator.load(str(motion))
