"""The stage ``motion`` goes on from given motion modules, whose file decides what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.tiny_models import new_unet
from tests.training.options import changed

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.stages.job import Job
from animatediff.training.stages.motion_start import given_motion
from animatediff.training.stages.stage_options import StageOptions
from animatediff.weights.families import FAMILIES
from animatediff.weights.motion import read_motion, write_motion
from animatediff.weights.storage.files import read_header, sha256_of, write_weights
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]
NewMotion = Callable[..., AnimatedUNet]


@pytest.fixture
def of_version(tmp_path: Path, new_motion: NewMotion) -> Callable[[str], Path]:
    """Motion modules of a version, which fit the tiny model."""

    def make(family: str) -> Path:
        torch.manual_seed(1)
        record = FAMILIES[family]
        animated = AnimatedUNet(
            new_unet(),
            mid=record.mid,
            norm_scope=record.motion_norm_scope,
            resnet_norm_scope=record.resnet_norm_scope,
        )
        for weights in animated.motion.parameters():
            torch.nn.init.normal_(weights, std=0.1)
        return write_motion(tmp_path / f"{family}.safetensors", animated, family=record)

    return make


@pytest.mark.parametrize("family", ["v1", "v2", "v3"])
def test_motion_modules_of_every_version_go_on_as_what_they_are(
    family: str,
    of_version: Callable[[str], Path],
    setup_of: SetupOf,
    options_of: OptionsOf,
    tmp_path: Path,
) -> None:
    path = of_version(family)
    setup = changed(setup_of("motion", tmp_path), motion=str(path))
    options = replace(options_of("motion"), steps=1, ema_decay=0.0)
    prepared = STAGES["motion"].prepare(setup, options, CPU)
    began = {k: p.detach().clone() for k, p in prepared.lesson.learns.named_parameters()}
    learned = train(prepared.lesson, options, tmp_path / "run", facts=prepared.facts)
    written = prepared.save(learned)
    one, two = read_motion(path), read_motion(written)
    assert (two.family, two.mid, two.norm_scope, two.resnet_norm_scope) == (
        one.family,
        one.mid,
        one.norm_scope,
        one.resnet_norm_scope,
    )
    assert read_header(written).metadata["begun_from"] == sha256_of(path)
    assert prepared.betas == FAMILIES[family].betas
    assert learned.keys() == began.keys()
    assert any(not torch.equal(learned[k], began[k]) for k in began)
    # One step moves no weight further than its rate: they began as given, not fresh.
    assert max((learned[k] - began[k]).abs().max() for k in began) < 0.05
    assert all(began[k].std() > 0.05 for k in began if began[k].numel() > 64)


def loss_of(job: Job) -> torch.Tensor:
    lesson = job.lesson
    batch = lesson.fetch(torch.arange(2), torch.Generator().manual_seed(0))
    return lesson.losses(batch, torch.Generator().manual_seed(0))["loss"]


def test_the_world_goes_on_from_given_modules_as_from_its_own(
    small_setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options = options_of("motion")
    own = small_setup_of("motion-longer", tmp_path / "own")
    path = own.work / "world" / "motion" / "emoji.safetensors"
    given = changed(small_setup_of("motion", tmp_path / "given"), motion=str(path))
    losses = {}
    for name, setup in (("motion-longer", own), ("motion", given)):
        prepared = STAGES[name].prepare(setup, options, CPU)
        assert prepared.facts["motion"] == sha256_of(path)
        losses[name] = loss_of(prepared)
    assert torch.equal(losses["motion-longer"], losses["motion"])
    fresh = STAGES["motion"].prepare(changed(given, motion=None), options, CPU)
    assert not torch.equal(loss_of(fresh), losses["motion"])


def test_a_run_is_not_resumed_from_other_modules(
    of_version: Callable[[str], Path], setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options = replace(options_of("motion"), steps=1)
    setup = changed(setup_of("motion", tmp_path), motion=str(of_version("v3")))
    prepared = STAGES["motion"].prepare(setup, options, CPU)
    whole = train(prepared.lesson, options, tmp_path / "run", facts=prepared.facts)
    again = STAGES["motion"].prepare(setup, options, CPU)
    same = train(again.lesson, options, tmp_path / "run", facts=again.facts)
    assert all(torch.equal(whole[k], same[k]) for k in whole)
    other = STAGES["motion"].prepare(changed(setup, motion=str(of_version("v1"))), options, CPU)
    with pytest.raises(InputError, match="with other options"):
        train(other.lesson, options, tmp_path / "run", facts=other.facts)


def test_something_else_is_named_for_what_it_is(
    of_version: Callable[[str], Path],
    setup_of: SetupOf,
    options_of: OptionsOf,
    tmp_path: Path,
) -> None:
    lora = STAGES["motion-lora"].prepare(
        changed(setup_of("motion-lora", tmp_path), output=tmp_path / "zoom.safetensors"),
        options_of("motion-lora"),
        CPU,
    )
    path = lora.save(dict(lora.lesson.learns.named_parameters()))
    setup = changed(setup_of("motion", tmp_path), motion=str(path))
    with pytest.raises(FileError, match="MotionLoRA") as told:
        STAGES["motion"].prepare(setup, options_of("motion"), CPU)
    assert str(told.value).count(". ") == 0
    convolution = AnimatedUNet(new_unet(), branch="convolution")
    rival = write_motion(tmp_path / "conv.safetensors", convolution, family=FAMILIES["emoji"])
    with pytest.raises(InputError, match="convolution kind"):
        given_motion(changed(setup, motion=str(rival)), new_unet(), branch="transformer")
    assert given_motion(changed(setup, motion="none"), new_unet(), branch="transformer") is None


def test_a_file_that_does_not_tell_its_family_is_of_the_one_that_is_named(
    new_motion: NewMotion, setup_of: SetupOf, tmp_path: Path
) -> None:
    path = tmp_path / "bare.safetensors"
    write_weights(path, new_motion().motion_state_dict(), metadata={})
    setup = changed(setup_of("motion", tmp_path), motion=str(path))
    with pytest.raises(FileError, match="--family"):
        given_motion(setup, new_unet(), branch="transformer")
    start = given_motion(changed(setup, family="v1"), new_unet(), branch="transformer")
    assert start is not None
    assert start.family == FAMILIES["v1"]
    assert start.animated.resnet_norm_scope == "video"
