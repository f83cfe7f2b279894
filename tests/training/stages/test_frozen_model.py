"""What a stage starts from: a frozen image model, its facts, and what is refused before learning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.tiny_models import write_json
from tests.training.options import changed

from animatediff.errors import FileError, InputError
from animatediff.training.stages.frozen_model import read_frozen_model
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.training_data import Captioned, read_training_data
from animatediff.weights.families import FAMILIES

SetupOf = Callable[[str, Path], StageOptions]


@pytest.fixture
def setup(setup_of: SetupOf, tmp_path: Path) -> StageOptions:
    return setup_of("motion-lora", tmp_path)


def with_scheduler(setup: StageOptions, folder: Path, **changes: object) -> StageOptions:
    """The same with another scheduler configuration of the image model."""
    model = setup.values["model"]
    copy = folder / "model"
    shutil.copytree(model, copy)
    path = copy / "scheduler" / "scheduler_config.json"
    write_json(path, json.loads(path.read_text()) | changes)
    return changed(setup, model=str(copy))


def test_the_image_model_is_frozen_and_trained_at_its_own_size_unless_told(
    setup: StageOptions,
) -> None:
    frozen = read_frozen_model(setup)
    parts = (frozen.base.unet, frozen.base.vae, frozen.base.text_encoder)
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert not any(part.training for part in parts)
    assert frozen.size == 32  # 4 latents of 8 pixels
    assert read_frozen_model(changed(setup, size=64)).size == 64


def test_facts_are_what_is_learned_and_not_where_it_lies(
    setup: StageOptions, tmp_path: Path
) -> None:
    facts = read_frozen_model(setup).facts
    model = setup.values["model"]
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    moved = replace(
        changed(setup, model=str(copy), output=tmp_path / "x", timeout=9.0),
        work=tmp_path / "other",
    )
    assert read_frozen_model(moved).facts == facts
    assert read_frozen_model(changed(setup, rank=3)).facts["rank"] != facts["rank"]
    write_json(
        copy / "unet" / "config.json", json.loads((copy / "unet" / "config.json").read_text())
    )
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert read_frozen_model(changed(setup, model=str(copy))).facts["model"] != facts["model"]


def test_the_noise_is_the_models_own(setup: StageOptions, tmp_path: Path) -> None:
    other = with_scheduler(
        setup, tmp_path, beta_start=0.001, beta_end=0.02, prediction_type="v_prediction"
    )
    frozen = read_frozen_model(other)
    betas = frozen.image_betas()
    assert (betas.schedule, betas.start, betas.end) == ("linear", 0.001, 0.02)
    assert (frozen.prediction, read_frozen_model(setup).prediction) == ("v_prediction", "epsilon")


def test_a_prediction_that_is_not_supported_is_named(setup: StageOptions, tmp_path: Path) -> None:
    frozen = read_frozen_model(with_scheduler(setup, tmp_path, prediction_type="sample"))
    with pytest.raises(FileError, match="predicts sample, which is not supported; use a model"):
        _ = frozen.prediction


def test_latents_are_drawn_from_the_encoder_and_scaled(setup: StageOptions) -> None:
    frozen = read_frozen_model(setup)
    pictures = torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def encoded(seed: int) -> torch.Tensor:
        return frozen.encode(pictures, torch.Generator().manual_seed(seed))

    assert encoded(1).shape == (9, 4, 4, 4)
    assert torch.equal(encoded(1), encoded(1))
    assert not torch.equal(encoded(1), encoded(2))
    posterior = frozen.base.vae.encode(pictures).latent_dist
    scale = frozen.base.vae.config["scaling_factor"]
    standard = (encoded(1) / scale - posterior.mean) / posterior.std
    assert abs(float(standard.mean())) < 0.15
    assert float(standard.std()) == pytest.approx(1.0, abs=0.1)


def test_fresh_motion_modules_are_of_the_family_that_is_named_and_do_nothing(
    setup: StageOptions,
) -> None:
    assert read_frozen_model(changed(setup, family="v2")).motion_family() == FAMILIES["v2"]
    frozen = read_frozen_model(setup)
    assert frozen.motion_family() == FAMILIES["v3"]
    latents = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    states = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone = frozen.base.unet(
            latents.movedim(2, 1).flatten(0, 1), 7, states.repeat_interleave(3, dim=0)
        ).sample
        motion = frozen.new_motion("transformer")
        grafted = motion(latents, torch.tensor(7), states)
    assert torch.equal(grafted.movedim(2, 1).flatten(0, 1), alone)
    assert len(list(motion.motion.parameters())) > 0


def test_a_stage_that_builds_on_motion_asks_for_it(setup: StageOptions) -> None:
    with pytest.raises(InputError, match="builds on motion modules; pass them with --motion"):
        read_frozen_model(changed(setup, motion=None)).read_motion()
    with pytest.raises(InputError, match="--motion cannot be none"):
        read_frozen_model(changed(setup, motion="none")).read_motion()
    frozen = read_frozen_model(setup)
    animated, _ = frozen.read_motion()
    assert not any(p.requires_grad for p in animated.motion.parameters())
    assert len(frozen.facts["motion"]) == 64


def test_one_caption_may_stand_for_all_clips_and_is_a_fact(setup: StageOptions) -> None:
    plain = read_training_data(read_frozen_model(setup))
    called = read_training_data(read_frozen_model(changed(setup, caption="a sks fox")))
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
