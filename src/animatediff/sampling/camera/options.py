"""Options of camera and object motion: the networks, and the paths that they follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from animatediff.errors import InputError
from animatediff.options.declaration import Option
from animatediff.sampling.camera.moves import MOVES, is_moves, parse_moves
from animatediff.sampling.object_motion.paths import parse_path
from animatediff.sampling.options.scaled_names import parse_lora

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

MAX_PATHS = 16
MAX_NAME = 1000
MAX_POINTS = 10_000
TIMESTEPS = 1000

_GROUP = "Camera"

Camera = Annotated[
    str,
    Option(
        "Camera control and its scale: a CameraCtrl file, or MotionCtrl's camera module (CMCM).",
        group=_GROUP,
        metavar="FILE:SCALE",
        foreign=("cameractrl", "camera-ctrl", "motionctrl", "camera-control"),
        most_characters=MAX_NAME,
    ),
]
CameraPath = Annotated[
    str,
    Option(
        f"How the camera moves: {', '.join(MOVES)}, with a speed such as zoom-in:1.5 and several "
        "joined by +; or a file of poses: lines as in RealEstate10K, or JSON with 12 numbers for each "
        "frame.",
        group=_GROUP,
        metavar="MOVE",
        foreign=("camera-move", "camera-motion", "camera-pose", "pose-file", "trajectory-file"),
        most_characters=MAX_NAME,
    ),
]
ObjectMotion = Annotated[
    str,
    Option(
        "MotionCtrl's object module (OMCM) and its scale.",
        group=_GROUP,
        metavar="FILE:SCALE",
        foreign=("omcm",),
        most_characters=MAX_NAME,
    ),
]
ObjectPaths = Annotated[
    tuple[str, ...],
    Option(
        "The path of an object for --object-motion: points as shares of width and height, such as "
        "'0.2,0.5 0.8,0.5', spread evenly over the frames.",
        group=_GROUP,
        name="object-path",
        metavar="POINTS",
        foreign=("trajectory", "traj", "object-trajectory"),
        most_items=MAX_PATHS,
        most_characters=MAX_POINTS,
        item="object path",
    ),
]
ObjectUntil = Annotated[
    float,
    Option(
        "The timestep, of 1,000, down to which object paths count; later steps draw details.",
        group=_GROUP,
        name="object-until",
        metavar="T",
        foreign=("omcm-min-step",),
        least=0,
        most=TIMESTEPS,
    ),
]


def check_camera(request: AnimationRequest) -> None:
    """Check everything about cameras and object paths that needs no file.

    Raises:
        InputError: an option cannot be used, or lacks another.
    """
    if request.camera:
        parse_lora(request.camera, what="camera control")
    if request.object_motion:
        parse_lora(request.object_motion, what="object motion")
    if is_moves(request.camera_path):
        parse_moves(request.camera_path)
    for text in request.object_paths:
        parse_path(text)


def check_paths(request: AnimationRequest) -> None:
    """Check that networks have paths and paths have networks.

    Raises:
        InputError: one of them is missing.
    """
    pairs = (
        ("--camera", request.camera, "--camera-path", request.camera_path, "zoom-in"),
        ("--object-motion", request.object_motion, "--object-path", request.object_paths,
         "'0.2,0.5 0.8,0.5'"),
    )  # fmt: skip
    for network, file, option, path, example in pairs:
        if file and not path:
            raise InputError(f"{network} needs a path to follow; give {option} {example}.")
        if path and not file:
            raise InputError(f"{option} is for a network that reads it; name one with {network}.")
