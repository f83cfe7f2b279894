"""The made-up files are what is published, as far as others' code and arithmetic can say."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_animatediff_checkpoint_to_diffusers,
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from tests.weights import synthetic
from tests.weights.synthetic import Shape, shapes_of

PARAMETERS = {
    "motion-v1": 417_137_600,
    "motion-v2": 453_209_280,
    "motion-sdxl": 236_779_200,
    "domain-adapter": 25_509_888,
    "motion-lora-v2": 19_333_120,
    "unet-sd15": 859_520_964,
    "vae": 83_653_863,
}
KEYS = {"motion-v1": 560, "motion-v2": 588, "motion-v3": 560, "motion-sdxl": 420, "motion-lcm": 546}


def on_meta(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes_of(name).items()}


def shapes(weights: dict[str, torch.Tensor]) -> dict[str, Shape]:
    return {key: tuple(tensor.shape) for key, tensor in weights.items()}


@pytest.mark.parametrize("base", ["sd15", "sd2", "sdxl"])
def test_single_files_are_those_that_diffusers_converts(base: str) -> None:
    unet = convert_ldm_unet_checkpoint(on_meta(base), synthetic.unet_config(base))
    assert shapes(unet) == shapes_of(f"unet-{base}")
    vae = convert_ldm_vae_checkpoint(on_meta(base), synthetic.vae_config(base))
    assert shapes(vae) == shapes_of("vae")


def test_a_published_controlnet_is_one_that_diffusers_converts() -> None:
    got = convert_controlnet_checkpoint(on_meta("controlnet-ldm"), synthetic.unet_config("sd15"))
    assert shapes(got) == shapes_of("controlnet")


@pytest.mark.parametrize("name", ["motion-v1", "motion-v2", "motion-v3", "motion-sdxl"])
def test_motion_modules_are_those_that_diffusers_converts(name: str) -> None:
    got = shapes(convert_animatediff_checkpoint_to_diffusers(on_meta(name)))
    wanted = {k: s for k, s in shapes_of(f"{name}-diffusers").items() if "pos_embed" not in k}
    assert got == wanted


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name: str) -> None:
    learned = {k: s for k, s in shapes_of(name).items() if not k.endswith(".pe")}
    assert sum(map(math.prod, learned.values())) == PARAMETERS[name]


@pytest.mark.parametrize("name", KEYS)
def test_names_are_as_many_as_published(name: str) -> None:
    assert len(shapes_of(name)) == KEYS[name]


def test_kohyas_lora_covers_all_192_modules_of_the_denoiser_and_72_of_the_text_encoder() -> None:
    downs = [key for key in shapes_of("lora-sd15") if key.endswith("lora_down.weight")]
    assert sum(key.startswith("lora_unet_") for key in downs) == 192
    assert sum(key.startswith("lora_te_") for key in downs) == 72
