"""What a stage starts from: a frozen image model, its facts, and what is refused before learning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import write_json

from animatediff.errors import FileError, InputError
from animatediff.training.stages.setup import Captioned, Setup, read_ground
from animatediff.weights.families import FAMILIES

SetupOf = Callable[[str, Path], Setup]


@pytest.fixture
def setup(setup_of: SetupOf, tmp_path: Path) -> Setup:
    return setup_of("motion-lora", tmp_path)


def with_scheduler(setup: Setup, folder: Path, **changes: object) -> Setup:
    """The same with another scheduler configuration of the image model."""
    assert setup.model is not None
    copy = folder / "model"
    shutil.copytree(setup.model, copy)
    path = copy / "scheduler" / "scheduler_config.json"
    write_json(path, json.loads(path.read_text()) | changes)
    return replace(setup, model=str(copy))


def test_the_image_model_is_frozen_and_trained_at_its_own_size_unless_told(setup: Setup) -> None:
    ground = read_ground(setup)
    parts = (ground.base.unet, ground.base.vae, ground.base.text_encoder)
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert not any(part.training for part in parts)
    assert ground.size == 32  # 4 latents of 8 pixels
    assert read_ground(replace(setup, size=64)).size == 64


def test_facts_are_what_is_learned_and_not_where_it_lies(setup: Setup, tmp_path: Path) -> None:
    facts = read_ground(setup).facts
    assert setup.model is not None
    copy = tmp_path / "elsewhere"
    shutil.copytree(setup.model, copy)
    moved = replace(
        setup, model=str(copy), work=tmp_path / "other", output=tmp_path / "x", timeout=9
    )
    assert read_ground(moved).facts == facts
    assert read_ground(replace(setup, rank=3)).facts["setup"] != facts["setup"]
    write_json(
        copy / "unet" / "config.json", json.loads((copy / "unet" / "config.json").read_text())
    )
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert read_ground(replace(setup, model=str(copy))).facts["model"] != facts["model"]


def test_the_noise_is_the_models_own(setup: Setup, tmp_path: Path) -> None:
    changed = with_scheduler(
        setup, tmp_path, beta_start=0.001, beta_end=0.02, prediction_type="v_prediction"
    )
    ground = read_ground(changed)
    betas = ground.image_betas()
    assert (betas.schedule, betas.start, betas.end) == ("linear", 0.001, 0.02)
    assert (ground.prediction, read_ground(setup).prediction) == ("v_prediction", "epsilon")


def test_a_prediction_that_is_not_supported_is_named(setup: Setup, tmp_path: Path) -> None:
    ground = read_ground(with_scheduler(setup, tmp_path, prediction_type="sample"))
    with pytest.raises(FileError, match="predicts sample; epsilon or v_prediction"):
        _ = ground.prediction


def test_latents_are_drawn_from_the_encoder_and_scaled(setup: Setup) -> None:
    ground = read_ground(setup)
    pictures = torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def encoded(seed: int) -> torch.Tensor:
        return ground.encode(pictures, torch.Generator().manual_seed(seed))

    assert encoded(1).shape == (9, 4, 4, 4)
    assert torch.equal(encoded(1), encoded(1))
    assert not torch.equal(encoded(1), encoded(2))
    posterior = ground.base.vae.encode(pictures).latent_dist
    scale = ground.base.vae.config["scaling_factor"]
    standard = (encoded(1) / scale - posterior.mean) / posterior.std
    assert abs(float(standard.mean())) < 0.15
    assert float(standard.std()) == pytest.approx(1.0, abs=0.1)


def test_fresh_motion_modules_are_of_the_family_that_is_named_and_do_nothing(setup: Setup) -> None:
    assert read_ground(replace(setup, family="v2")).motion_family() == FAMILIES["v2"]
    ground = read_ground(setup)
    assert ground.motion_family() == FAMILIES["v3"]
    latents = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    states = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone = ground.base.unet(
            latents.movedim(2, 1).flatten(0, 1), 7, states.repeat_interleave(3, dim=0)
        ).sample
        motion = ground.fresh_motion()
        grafted = motion(latents, torch.tensor(7), states)
    assert torch.equal(grafted.movedim(2, 1).flatten(0, 1), alone)
    assert len(list(motion.motion.parameters())) > 0


def test_a_stage_that_builds_on_motion_asks_for_it(setup: Setup) -> None:
    with pytest.raises(InputError, match="builds on motion modules; give --motion"):
        read_ground(replace(setup, motion=None)).read_motion()
    with pytest.raises(InputError, match="--motion cannot be none"):
        read_ground(replace(setup, motion="none")).read_motion()
    ground = read_ground(setup)
    animated, _ = ground.read_motion()
    assert not any(p.requires_grad for p in animated.motion.parameters())
    assert len(ground.facts["motion"]) == 64


def test_one_caption_may_stand_for_all_clips_and_is_a_fact(setup: Setup) -> None:
    plain = read_ground(setup).data()
    called = read_ground(replace(setup, caption="a sks fox")).data()
    assert isinstance(called, Captioned)
    assert len(called) == len(plain) == 3

    def captions(data: object) -> list[str]:
        return [
            data.footage(i, num_frames=4, generator=torch.Generator().manual_seed(0)).caption  # pyright: ignore[reportAttributeAccessIssue]
            for i in range(3)
        ]

    assert captions(plain) == [f"a fox number {i}" for i in range(3)]
    assert captions(called) == ["a sks fox"] * 3
    assert called.fingerprint() != plain.fingerprint()
