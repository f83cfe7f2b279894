"""Options of image to video: the picture, the way it is followed, and how much may move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from animatediff.errors import InputError
from animatediff.options.declaration import Option

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

WayName = Literal["sparse-control", "pia", "animatelcm-i2v", "blend"]
"""How a picture is animated, the best first."""
WayChoice = Literal["auto", "sparse-control", "pia", "animatelcm-i2v", "blend"]
AffinityName = Literal[
    "small",
    "moderate",
    "large",
    "small-loop",
    "moderate-loop",
    "large-loop",
    "small-style",
    "moderate-style",
    "large-style",
]
"""PIA's ranges of motion."""

BLEND_STRENGTH = 0.75
"""The strength with which a picture is blended in, unless it is given."""
BLEND_POWER, BLEND_SCALE = 1.0, 32.0
"""How a picture is blended in, unless a request says otherwise."""
MAX_PATH = 1000

_GROUP = "Image to video"

ImagePath = Annotated[
    str,
    Option(
        "A picture to animate: frame 0 stays the picture. The size follows its shape unless another "
        "is given.",
        group=_GROUP,
        metavar="PICTURE",
        foreign=(
            "image-path",
            "first-frame",
            "i2v",
            "img2vid",
            "start-image",
            "input-image",
            "img",
        ),
        common=True,
        most_characters=MAX_PATH,
    ),
]
ImageWay = Annotated[
    WayChoice,
    Option(
        "How --image is animated: sparse-control (a SparseCtrl rgb model), pia or animatelcm-i2v (a "
        "motion module of that family), blend (latents, with any model), or the best that is loaded.",
        group=_GROUP,
        metavar="NAME",
    ),
]
ImageMotion = Annotated[
    AffinityName,
    Option(
        "PIA: how much moves: small, moderate or large; with -loop the end returns to the picture, "
        "with -style it is drawn anew in the style of the model.",
        group=_GROUP,
        metavar="NAME",
        foreign=("motion-range", "pia-motion", "magnitude"),
    ),
]
ImageMotionScale = Annotated[
    float,
    Option(
        "AnimateLCM: how much moves; less keeps the picture better.",
        group=_GROUP,
        least=0,
        most=1.5,
    ),
]
ImagePower = Annotated[
    float,
    Option(
        "Blending: frame k begins with 1 - k^power / scale of the picture. A larger power bends the "
        "fall.",
        group=_GROUP,
        foreign=("latent-power",),
        least=0,
        most=10,
    ),
]
ImageScale = Annotated[
    float,
    Option(
        "Blending: the larger, the longer frames stay like the picture.",
        group=_GROUP,
        foreign=("latent-scale",),
        least=0.01,
        most=1000,
    ),
]
ImagePinned = Annotated[
    bool,
    Option(
        "Blending: hold frame 0 at the picture at every step, instead of only beginning with it.",
        group=_GROUP,
    ),
]
PictureStrength = Annotated[
    float | None,
    Option(
        "Built-in model: how much frames follow the picture of --image, or the still that they begin "
        "from, through the built-in network pictures; 0 leaves it out.",
        group=_GROUP,
        least=0,
        most=2,
        unset="1 with --image and without --control, --motion-lora and --camera, else 0",
    ),
]
ImageColours = Annotated[
    bool,
    Option("Match the colours of every frame to the picture afterwards.", group=_GROUP),
]


def check_image_to_video(request: AnimationRequest) -> None:
    """Check everything about image to video that needs no file.

    Raises:
        InputError: options contradict each other.
    """
    if not request.image:
        if request.image_colours or request.image_way != "auto":
            raise InputError(
                "--image-way and --image-colours need a picture; give it with --image."
            )
        return
    if request.init:
        raise InputError("--image begins with a picture and --init with a video; give one of them.")
