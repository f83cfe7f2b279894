"""The files of image prompts: pictures and masks, and whether adapters and encoder fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.errors import FileError, InputError
from animatediff.sampling.image_prompts.settings import image_prompt_pictures, image_prompt_settings
from animatediff.video.material import files_of
from animatediff.weights.finding.builtin import resolve

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest
    from animatediff.weights.image_prompts.image_encoder import ImageEncoder
    from animatediff.weights.image_prompts.ip_adapter import IpAdapterFile


def image_prompt_files(request: AnimationRequest) -> dict[str, tuple[Path, ...]]:
    """Every picture and mask of image prompts, by its role.

    Raises:
        FileError: one is missing.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for number, picture in enumerate(image_prompt_pictures(request), start=1):
        found[f"ip-image:{number}"] = files_of(picture.path)
    masks = [s.mask for s in image_prompt_settings(request) if s.mask is not None]
    for number, mask in enumerate(dict.fromkeys(masks), start=1):
        found[f"ip-mask:{number}"] = files_of(mask)
    return found


def check_image_prompt_files(request: AnimationRequest) -> None:
    """Check adapters, encoder and pictures by their headers and names, before a model is loaded.

    Raises:
        InputError: pictures and adapters do not match, or the encoder is not named.
        FileError: a file is broken or something else, a picture is missing, or the encoder is not
            the one that an adapter was trained with.
    """
    check_pictures(request)
    image_prompt_files(request)
    if not request.ip_adapters:
        return
    import torch

    from animatediff.weights.image_prompts.image_encoder import plan_image_encoder
    from animatediff.weights.image_prompts.ip_adapter import read_ip_adapter

    names = [setting.name for setting in image_prompt_settings(request)]
    files = [read_ip_adapter(resolve("ip-adapter", name)) for name in names]
    path = resolve("image-encoder", request.image_encoder)
    check_encoder(files, plan_image_encoder(path, device=torch.device("cpu")))


def check_pictures(request: AnimationRequest) -> None:
    """Check that every adapter has a picture and an encoder, and that every picture has an adapter.

    Raises:
        InputError: something is missing.
    """
    settings = image_prompt_settings(request)
    if request.ip_images and not settings:
        raise InputError("--ip-image is for an IP-Adapter; name one with --ip-adapter.")
    for setting in settings:
        if not setting.pictures:
            raise InputError(
                f"The IP-Adapter {setting.name} has no picture to follow; give one with --ip-image, "
                "such as --ip-image face.png."
            )
    if settings and not request.image_encoder:
        raise InputError(
            "An IP-Adapter reads pictures with CLIP's image encoder, which is not part of this "
            "package; name its file or folder with --image-encoder, such as IP-Adapter's folder "
            "image_encoder."
        )


def check_encoder(files: Sequence[IpAdapterFile], encoder: ImageEncoder) -> None:
    """Check that an encoder makes the features that adapters read.

    Raises:
        FileError: it makes others.
    """
    for file in files:
        made = encoder.width if file.reads_patches else encoder.embedding
        if made != file.features:
            raise FileError(
                f"{file.header.path} reads image features of {file.features} channels, and the image "
                f"encoder {encoder.path} makes {made}; name the encoder that it was trained with "
                "(OpenCLIP ViT-H/14, or ViT-bigG/14 for SDXL's files without vit-h)."
            )
