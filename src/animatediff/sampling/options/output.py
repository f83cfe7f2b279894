"""Options of the video that comes out: frames, size, rate and playback."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from animatediff.options.declaration import Option

MAX_FRAMES = 1024
MAX_SIZE = 2048
MIN_FPS = 0.1
MAX_FPS = 120
FPS = 8
MAX_INTERPOLATE = 16
MAX_UPSCALE = 8
MAX_UPSCALED_SIDE = 8192

NumFrames = Annotated[
    int | None,
    Option(
        "How many frames to draw.",
        group="Output",
        name="frames",
        foreign=(
            "L",
            "length",
            "num-frames",
            "video-length",
            "n-frames",
            "frame-count",
            "video-frames",
        ),
        common=True,
        least=1,
        most=MAX_FRAMES,
        unset="as many as the motion module was trained on; with --init, as many as the video has",
    ),
]
Pingpong = Annotated[
    bool,
    Option(
        "Play the animation forwards and then backwards.",
        group="Output",
        foreign=("boomerang", "ping-pong"),
    ),
]
Interpolate = Annotated[
    int,
    Option(
        "Multiply the frame rate by N: draw N - 1 frames between every two, by optical flow.",
        group="Output",
        foreign=("interp", "interp-x", "interpolation-factor", "rife", "film"),
        least=1,
        most=MAX_INTERPOLATE,
    ),
]
InterpolatorFile = Annotated[
    str,
    Option(
        "A network for --interpolate instead of optical flow: a name or a file of RIFE 4.25, 4.26 or "
        "FILM.",
        group="Output",
        metavar="NAME",
        foreign=("rife-model", "film-model", "interpolation-model"),
        most_characters=1000,
    ),
]
VaeTile = Annotated[
    int,
    Option(
        "Decode frames in tiles of N pixels that overlap and are blended, for large frames in little "
        "memory; 0 decodes whole frames.",
        group="Machine",
        foreign=("vae-tiling", "vae-tile-size", "enable-vae-tiling", "tiled-vae"),
        unit="pixels",
        least=0,
        most=MAX_SIZE,
        multiple_of=64,
    ),
]
Upscale = Annotated[
    int | None,
    Option(
        "Enlarge frames N times by a network, after everything else.",
        group="Output",
        foreign=("upscale-factor", "upscale-by", "scale-factor", "resize", "hires-scale"),
        least=1,
        most=MAX_UPSCALE,
        unset="1; 4 for the built-in model, unless a size, --upscaler or --hires is given",
    ),
]
UpscalerFile = Annotated[
    str,
    Option(
        "The network that --upscale uses: a name or a file of ESRGAN, its compact form or RealPLKSR.",
        group="Output",
        metavar="NAME",
        foreign=("upscale-model", "upscaler-model", "hires-upscaler", "esrgan"),
        most_characters=1000,
        unset="the built-in one, if this installation has one",
    ),
]
Fps = Annotated[
    Fraction | int | float | str | None,
    Option(
        "Frames a second. A fraction such as 24000/1001 is exact.",
        group="Output",
        metavar="RATE",
        foreign=("frame-rate", "framerate", "rate"),
        least=MIN_FPS,
        most=MAX_FPS,
        unset="8; with --init, that of the video",
    ),
]
Width = Annotated[
    int | None,
    Option(
        "Width, instead of --size.",
        group="Output",
        foreign=("W",),
        unit="pixels",
        least=8,
        most=MAX_SIZE,
        multiple_of=8,
        unset="the model's own; with --init, in the shape of the video",
    ),
]
Height = Annotated[
    int | None,
    Option(
        "Height, instead of --size.",
        group="Output",
        foreign=("H",),
        unit="pixels",
        least=8,
        most=MAX_SIZE,
        multiple_of=8,
        unset="the model's own; with --init, in the shape of the video",
    ),
]
