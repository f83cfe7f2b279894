"""The options of control networks; those that may differ between networks are repeated with them."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.video.fit import FitName

MAX_CONTROLS = 8
MAX_HINTS = 64
MAX_PATH = 1000
MAX_STRENGTH = 10.0

MissingName = Literal["nearest", "hold", "none"]
LatentsName = Literal["mode", "sample"]

_GROUP = "Control"
_EACH = "One for all networks, or one for each"

Controls = Annotated[
    tuple[str, ...],
    Option(
        "A control network and its strength: a ControlNet, T2I-Adapter or SparseCtrl model.",
        group=_GROUP,
        name="control",
        metavar="FILE:SCALE",
        foreign=("controls", "controlnet", "control-net", "controlnet-path", "control-scale"),
        most_items=MAX_CONTROLS,
        most_characters=MAX_PATH,
        item="control network",
    ),
]
ControlInputs = Annotated[
    tuple[str, ...],
    Option(
        "What a control network follows: a video, a folder of pictures or one picture. Give as many "
        "as networks, in the same order; SparseCtrl takes --sparse instead.",
        group=_GROUP,
        name="control-input",
        metavar="PATH",
        foreign=("control-image", "control-video", "controlnet-images", "hint"),
        most_items=MAX_CONTROLS,
        most_characters=MAX_PATH,
        item="control input",
    ),
]
ControlPreprocess = Annotated[
    tuple[str, ...],
    Option(
        f"What is drawn from the input first: canny, lineart, softedge, tile, shape or none. {_EACH}.",
        group=_GROUP,
        metavar="NAME",
        foreign=("preprocessor", "control-type-preprocess", "annotator"),
        most_items=MAX_CONTROLS,
        most_characters=40,
        unset="none",
    ),
]
ControlTypes = Annotated[
    tuple[str, ...],
    Option(
        "What the input of a union ControlNet is: pose, depth, softedge, canny, normal, segment, or "
        f"with promax tile or repaint. {_EACH}.",
        group=_GROUP,
        name="control-type",
        metavar="NAME",
        most_items=MAX_CONTROLS,
        most_characters=40,
        unset="what --control-preprocess draws",
    ),
]
ControlRanges = Annotated[
    tuple[str, ...],
    Option(
        f"The part of the denoising steps in which a network counts, such as 0:0.6. {_EACH}.",
        group=_GROUP,
        name="control-range",
        metavar="START:END",
        foreign=("control-guidance-start", "control-guidance-end", "control-start", "control-end"),
        most_items=MAX_CONTROLS,
        most_characters=40,
        unset="0:1",
    ),
]
ControlStrengths = Annotated[
    tuple[str, ...],
    Option(
        "Strength of single frames, multiplied with the scale: '0=0.5, 2:8=0.7, -1' is 0.5 in frame "
        f"0, 0.7 in frames 2 to 7, 1 in the last and 0 in the others. {_EACH}.",
        group=_GROUP,
        name="control-strength",
        metavar="FRAMES",
        foreign=("latent-keyframes",),
        most_items=MAX_CONTROLS,
        most_characters=10_000,
        unset="1 in every frame",
    ),
]
ControlWeights = Annotated[
    tuple[str, ...],
    Option(
        "Weights of the layers: even, soft (0.825 to the power of the depth from below), guess (0.1 to "
        f"1, as in diffusers), or numbers with commas, the shallowest first. {_EACH}.",
        group=_GROUP,
        metavar="NAME",
        most_items=MAX_CONTROLS,
        most_characters=400,
        unset="even",
    ),
]
ControlModes = Annotated[
    tuple[str, ...],
    Option(
        "balanced, prompt (the prompt is more important: soft weights) or control (the control is more "
        f"important: soft weights, and nothing added without the prompt). {_EACH}.",
        group=_GROUP,
        name="control-mode",
        metavar="NAME",
        most_items=MAX_CONTROLS,
        most_characters=40,
        unset="balanced",
    ),
]
ControlMasks = Annotated[
    tuple[str, ...],
    Option(
        "Where a network counts: a picture, folder or video, white where it does and black where it "
        f"does not; none for everywhere. {_EACH}.",
        group=_GROUP,
        name="control-mask",
        metavar="PATH",
        most_items=MAX_CONTROLS,
        most_characters=MAX_PATH,
    ),
]
ControlMissing = Annotated[
    MissingName,
    Option(
        "Frames that the input does not have: take the nearest it has, hold the last before, or none.",
        group=_GROUP,
        metavar="NAME",
    ),
]
ControlFit = Annotated[
    FitName,
    Option(
        "How inputs of another shape fit the animation: crop, pad or stretch.",
        group=_GROUP,
        metavar="NAME",
    ),
]
Sparse = Annotated[
    tuple[str, ...],
    Option(
        "A picture for SparseCtrl and its frame, such as first.png@0; -1 is the last frame.",
        group=_GROUP,
        metavar="IMAGE@FRAME",
        foreign=("sparse-image", "sparsectrl", "condition-image", "controlnet-images-indexs"),
        most_items=MAX_HINTS,
        most_characters=MAX_PATH,
        item="SparseCtrl picture",
    ),
]
SparseHinted = Annotated[
    float,
    Option(
        "SparseCtrl: strength in frames that have a picture, multiplied with the scale.",
        group=_GROUP,
        least=0,
        most=MAX_STRENGTH,
    ),
]
SparseOthers = Annotated[
    float,
    Option(
        "SparseCtrl: strength in frames without a picture, multiplied with the scale.",
        group=_GROUP,
        least=0,
        most=MAX_STRENGTH,
    ),
]
SparseMotion = Annotated[
    float,
    Option(
        "SparseCtrl: strength of its own motion modules; 0 turns them off.",
        group=_GROUP,
        least=0,
        most=MAX_STRENGTH,
    ),
]
SparseNearest = Annotated[
    bool,
    Option(
        "SparseCtrl: a window of frames without a picture is given the nearest one.", group=_GROUP
    ),
]
SparseLatents = Annotated[
    LatentsName,
    Option(
        "SparseCtrl rgb: the latents of a picture are the likeliest (mode), or drawn by the seed "
        "(sample).",
        group=_GROUP,
        metavar="NAME",
    ),
]
SparseColours = Annotated[
    bool,
    Option(
        "SparseCtrl: match the colours of every frame to the nearest picture afterwards.",
        group=_GROUP,
    ),
]
