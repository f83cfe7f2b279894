"""The world folder: places of the model's parts, and how stages read and replace them."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.errors import FileError
from animatediff.training.lessons.denoiser import TextEmbedder
from animatediff.training.lessons.objective import Prediction, alphas_bar

STYLE = "noto"
BETA_START, BETA_END, BETA_SCHEDULE = 0.00085, 0.012, "linear"
"""The motion stages' betas (Sec. 4.2); the built-in image model is trained with them from the start."""

GUIDANCE = 3.0
"""How strongly a prompt should pull at the built-in image model."""

PREDICTION: Prediction = "v_prediction"
"""What the built-in denoiser predicts; with noise it takes far longer to get colours right."""


def image_model(work: Path) -> Path:
    """The diffusers folder of the image model."""
    return work / "world" / "emoji"


def part(folder: Path, name: str) -> str:
    """The folder of a trained part.

    Raises:
        FileError: its stage has not run yet.
    """
    path = folder / name
    if not (path / "config.json").exists() and not (path / "vocab.json").exists():
        raise FileError(f"{folder} has no {name} yet; run the stage that makes it first.")
    return str(path)


def read_autoencoder(work: Path) -> AutoencoderKL:
    """Read the autoencoder, frozen."""
    model = AutoencoderKL.from_pretrained(part(image_model(work), "vae"), local_files_only=True)
    return model.requires_grad_(False).eval()


def read_text(work: Path) -> TextEmbedder:
    """Read the tokenizer and text encoder, frozen."""
    folder = image_model(work)
    tokenizer = CLIPTokenizer.from_pretrained(part(folder, "tokenizer"), local_files_only=True)
    encoder = CLIPTextModel.from_pretrained(part(folder, "text_encoder"), local_files_only=True)
    return TextEmbedder(tokenizer, encoder.requires_grad_(False).eval())


def read_unet(folder: Path) -> UNet2DConditionModel:
    """Read the image U-Net of a model folder."""
    return UNet2DConditionModel.from_pretrained(part(folder, "unet"), local_files_only=True)


def betas() -> Float[Tensor, " timesteps"]:
    """Return the noise schedule of every stage of the built-in world."""
    return alphas_bar(start=BETA_START, end=BETA_END, schedule=BETA_SCHEDULE)


def write_index(work: Path) -> None:
    """Write the index and the scheduler of a diffusers folder."""
    folder = image_model(work)
    scheduler = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": BETA_SCHEDULE,
        "clip_sample": False,
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "prediction_type": PREDICTION,
        "_guidance": GUIDANCE,
    }
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _write(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write(folder / "model_index.json", index)


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)
