"""Every published version computes what its authors' code does, and on request what diffusers does.

Files are written with the exact names of the published ones at reduced width, read as a user's file
is, and the whole U-Net's output is compared: with an independent reference (``reference.py``), and
with diffusers' ``UNetMotionModel`` built through our converter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from safetensors.torch import load_file
from tests.parity.reference import VERSIONS, Denoiser
from tests.weights import synthetic
from torch import Tensor, nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.weights.convert import convert
from animatediff.weights.families import Numerics
from animatediff.weights.motion import fill_motion, inflate, read_motion
from animatediff.weights.storage.files import write_weights

FILES = {
    "v1": "motion-v1",
    "v2": "motion-v2",
    "v3": "motion-v3",
    "sdxl-beta": "motion-sdxl",
    "animatelcm": "motion-lcm",
    "hotshot-xl": "motion-hotshot",
}
CPU = torch.device("cpu")
FRAMES, SIDE = 3, 8


@dataclass(frozen=True)
class Case:
    """A file of one version, an image model, and what both are asked."""

    version: str
    path: Path
    unet: UNet2DConditionModel
    inputs: dict[str, Any]

    def ours(self, numerics: Numerics) -> Tensor:
        animated = self.animated(numerics)
        with torch.inference_mode():
            noise = animated(**self.inputs)
        animated.remove()
        return noise

    def animated(self, numerics: Numerics) -> AnimatedUNet:
        module = read_motion(self.path, numerics=numerics)
        assert module.family.name == self.version
        animated = inflate(self.unet, module)
        fill_motion(animated, module, dtype=torch.float32, device=CPU)
        return animated


def image_unet(base: str) -> UNet2DConditionModel:
    """An image model at a tenth of the width, with random weights."""
    config = synthetic.unet_config(base, "small") | {"cross_attention_dim": 24}
    if base == "sdxl":
        config |= {
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 20,
        }
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**config)
    for name, weights in unet.named_parameters():
        randomise(name, weights)
    return unet.eval().requires_grad_(False)


def randomise(name: str, weights: Tensor) -> None:
    """None of them zero, and signals neither vanish nor explode."""
    with torch.no_grad():
        fan_in = max(1, weights[0].numel())
        weights.normal_(std=0.1 if weights.ndim == 1 else fan_in**-0.5)
        if "norm" in name and name.endswith("weight"):
            weights.add_(1)


@pytest.fixture(scope="module", params=FILES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    sample = synthetic.SAMPLES[FILES[request.param]]
    weights = synthetic.tensors(FILES[request.param])
    torch.manual_seed(1)
    for name, tensor in weights.items():
        if not name.endswith((".pe", ".positional_encoding")):
            weights[name] = tensor = tensor.float()
            randomise(name, tensor)
    path = tmp_path_factory.mktemp("parity") / "motion.safetensors"
    write_weights(path, weights, metadata={})
    inputs: dict[str, Any] = {
        "latents": torch.randn(2, 4, FRAMES, SIDE, SIDE),
        "timestep": 321,
        "encoder_hidden_states": torch.randn(2, 7, 24),
    }
    if sample.base == "sdxl":
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, 20),
            "time_ids": torch.tensor([[64.0, 64.0, 0.0, 8.0, 64.0, 48.0]] * 2),
        }
    return Case(request.param, path, image_unet(sample.base), inputs)


def reference_of(case: Case) -> Tensor:
    """What the version's own maths gives, from the file's tensors."""
    motion = {authors_name(name): tensor for name, tensor in load_file(case.path).items()}
    heads = case.unet.config["attention_head_dim"]
    blocks = len(case.unet.down_blocks)
    denoiser = Denoiser(
        spatial=case.unet.state_dict(),
        motion=motion,
        version=VERSIONS[case.version],
        groups=case.unet.config["norm_num_groups"],
        spatial_heads=(heads,) * blocks if isinstance(heads, int) else tuple(heads),
    )
    added = case.inputs.get("added_cond_kwargs", {})
    with torch.inference_mode():
        return denoiser(
            case.inputs["latents"],
            case.inputs["timestep"],
            case.inputs["encoder_hidden_states"],
            pooled=added.get("text_embeds"),
            sizes=added.get("time_ids"),
            size_width=8,
        )


def authors_name(name: str) -> str:
    """Hotshot's names in the authors' words; theirs as they are."""
    head, ours, tail = name.partition(".temporal_attentions.")
    if not ours:
        return name
    number, _, rest = tail.partition(".")
    return f"{head}.motion_modules.{number}.temporal_transformer.{rest}"


def diffusers_of(case: Case, folder: Path) -> UNetMotionModel:
    """diffusers' own model of the same weights, through our converter."""
    written = convert(case.path, folder / "adapter", layout="diffusers").path
    adapter = MotionAdapter.from_pretrained(written)
    motion = UNetMotionModel.from_unet2d(case.unet, adapter)
    if case.unet.config["addition_embed_type"]:
        # from_unet2d leaves these two layers of SDXL as they were initialised.
        embedding: nn.Module = motion.get_submodule("add_embedding")
        embedding.load_state_dict(case.unet.get_submodule("add_embedding").state_dict())
    return motion.eval()


def test_the_whole_unet_matches_the_authors_maths(case: Case) -> None:
    expected = reference_of(case)
    assert expected.std() > 0.1
    assert (case.ours("faithful") - expected).abs().max() < 1e-4


def test_with_diffusers_numerics_it_matches_diffusers(case: Case, tmp_path: Path) -> None:
    inputs = dict(case.inputs)
    sample = inputs.pop("latents")
    inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"].repeat_interleave(
        FRAMES, dim=0
    )
    with torch.inference_mode():
        expected = diffusers_of(case, tmp_path)(sample, **inputs, return_dict=False)[0]
    assert (case.ours("diffusers") - expected).abs().max() < 1e-4


def test_only_sdxl_beta_was_trained_as_diffusers_computes(case: Case) -> None:
    difference = (case.ours("faithful") - case.ours("diffusers")).abs().max()
    assert (difference == 0) == (case.version == "sdxl-beta")
    assert difference == 0 or difference > 1e-2
