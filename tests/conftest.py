"""Worlds small enough to draw in a blink: random models in the layout of the real ones."""

import atexit
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Every module is compiled once and kept: a command that a test starts needs 0.2 s instead of 3.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# What is imported stays. Looking for garbage in it, again and again as it grows, finds none.
gc.disable()

import hypothesis
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.shapes import check_shapes
from tests.weights.synthetic.tokenizer import write_tokenizer
from transformers.models.clip.configuration_clip import CLIPConfig, CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPModel, CLIPTextModel

# One thread for each worker of pytest-xdist, and for every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
# What is measured of this processor is remembered for these tests only.
CACHE = tempfile.TemporaryDirectory(prefix="animatediff-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
atexit.register(CACHE.cleanup)
torch.set_num_threads(1)
check_shapes("animatediff")  # before anything of the package is imported

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import LowRankSet, attention_projections
from animatediff.weights.families import FAMILIES
from animatediff.weights.motion import write_motion
from animatediff.weights.storage.files import write_weights

# A busy machine must not fail a test: no example has a deadline, and slow drawing is no fault.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and only in what the tests make."""
    gc.freeze()
    gc.enable()


WIDTH = 32
"""Of the text encoder's states, and of the first block of the U-Net."""


def new_unet() -> UNet2DConditionModel:
    """Stable Diffusion's blocks, tiny: 4x4 latents, one block with attention and one without."""
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(WIDTH, 2 * WIDTH),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def new_vae() -> AutoencoderKL:
    """Eight times smaller, four latent channels, as Stable Diffusion's."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def new_text_encoder(vocabulary: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return CLIPTextModel(config)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="session", autouse=True)
def the_same_precision_on_every_processor() -> Iterator[None]:
    """What is left to choose is fp32, whatever this processor computes in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder with random weights, drawn from a fixed seed."""
    folder = tmp_path_factory.mktemp("tiny-world")
    torch.manual_seed(0)
    new_unet().save_pretrained(folder / "unet")
    new_vae().save_pretrained(folder / "vae")
    vocabulary = write_tokenizer(folder / "tokenizer")
    new_text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    scheduler = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's folder with random weights of both encoders."""
    folder = tmp_path_factory.mktemp("clip") / "vit-tiny"
    vocabulary = write_tokenizer(folder)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = small | {
        "vocab_size": vocabulary,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    vision = small | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def new_motion() -> Callable[..., AnimatedUNet]:
    """Make a tiny animated U-Net whose motion modules already say something."""

    def make(*, seed: int = 1, mid: bool = False) -> AnimatedUNet:
        torch.manual_seed(seed)
        animated = AnimatedUNet(new_unet(), mid=mid)
        for weights in animated.motion.parameters():
            torch.nn.init.normal_(weights, std=0.1)
        return animated

    return make


@pytest.fixture(scope="session")
def tiny_motion(
    tmp_path_factory: pytest.TempPathFactory, new_motion: Callable[..., AnimatedUNet]
) -> Path:
    """A motion module that fits ``tiny_world``."""
    path = tmp_path_factory.mktemp("tiny-motion") / "tiny.safetensors"
    return write_motion(path, new_motion(), family=FAMILIES["emoji"])


@pytest.fixture(scope="session")
def tiny_lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 2 that fits ``tiny_world`` and changes what it draws."""
    torch.manual_seed(2)
    branches = LowRankSet(attention_projections(new_unet()), rank=2)
    for weights in branches.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    path = tmp_path_factory.mktemp("tiny-lora") / "style.safetensors"
    return write_weights(path, branches.state_dict(), metadata={"rank": "2", "alpha": "2"})
