"""Options that name files: the image model, the motion module, and what is added to them."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from animatediff.options.declaration import Option

MAX_NAME = 1000
MAX_LORAS = 16
MAX_EMBEDDINGS = 256
MAX_CLIP_SKIP = 12
NumericsName = Literal["faithful", "diffusers"]
NUMERICS_NAMES: tuple[str, ...] = get_args(NumericsName)

Model = Annotated[
    str | None,
    Option(
        "The image model: a name that `animatediff models` lists, a file, or a diffusers folder.",
        group="Model",
        metavar="NAME",
        foreign=(
            "ckpt",
            "checkpoint",
            "base-model",
            "model-path",
            "sd-model",
            "dreambooth-path",
            "pretrained-model-path",
            "pretrained-model-name-or-path",
            "m",
        ),
        common=True,
        most_characters=MAX_NAME,
        unset="emoji",
    ),
]
Motion = Annotated[
    str | None,
    Option(
        "The motion module: a name, a file, or none.",
        group="Motion",
        metavar="NAME",
        foreign=("motion-module", "motion-model", "motion-adapter", "mm", "motion-module-path"),
        common=True,
        most_characters=MAX_NAME,
        unset="emoji",
    ),
]
Loras = Annotated[
    tuple[str, ...],
    Option(
        "A LoRA to add: a name or a file, and its scale.",
        group="Model",
        name="lora",
        metavar="NAME:SCALE",
        foreign=(
            "loras",
            "lora-path",
            "lora-model-path",
            "lora-weights",
            "lora-scale",
            "lora-alpha",
        ),
        common=True,
        most_items=MAX_LORAS,
        most_characters=MAX_NAME,
        item="LoRA",
    ),
]
Vae = Annotated[
    str,
    Option(
        "An autoencoder to use instead of the model's own: a name, a file or a folder.",
        group="Model",
        metavar="NAME",
        foreign=("vae-path", "vae-ckpt"),
        most_characters=MAX_NAME,
    ),
]
Embeddings = Annotated[
    tuple[str, ...],
    Option(
        "A textual inversion that the prompts may name: a name or a file.",
        group="Model",
        name="embedding",
        metavar="NAME",
        foreign=("embeddings", "textual-inversion", "ti"),
        most_items=MAX_EMBEDDINGS,
        most_characters=MAX_NAME,
        item="embedding",
    ),
]
ClipSkip = Annotated[
    int | None,
    Option(
        "Which layer of the text encoder is read: 1 is the last, 2 the one before.",
        group="Model",
        foreign=("clipskip", "clip-stop-at-last-layers"),
        least=1,
        most=MAX_CLIP_SKIP,
        unset="the model's own",
    ),
]
Adapter = Annotated[
    str,
    Option(
        "A domain adapter and its alpha (Eq. 4).",
        group="Motion",
        metavar="FILE:ALPHA",
        foreign=(
            "domain-adapter",
            "domain-lora",
            "adapter-lora",
            "adapter-lora-path",
            "adapter-lora-scale",
        ),
        most_characters=MAX_NAME,
    ),
]
MotionLoras = Annotated[
    tuple[str, ...],
    Option(
        "A MotionLoRA to add to the motion module, and its scale.",
        group="Motion",
        name="motion-lora",
        metavar="FILE:SCALE",
        foreign=("motion-loras", "motion-module-lora", "motion-module-lora-configs"),
        most_items=MAX_LORAS,
        most_characters=MAX_NAME,
        item="MotionLoRA",
    ),
]
Family = Annotated[
    str,
    Option(
        "The motion module's family, if its file does not tell: v1, v2, v3, lightning-4step, ...",
        group="Motion",
        metavar="NAME",
        foreign=("motion-version", "mm-version"),
        most_characters=100,
    ),
]
Numerics = Annotated[
    NumericsName | None,
    Option(
        "Group normalisation: faithful normalises as the module was trained, diffusers as "
        "diffusers does.",
        group="Motion",
        metavar="NAME",
        unset="faithful",
    ),
]
