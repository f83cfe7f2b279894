"""``animatediff preprocess VIDEO canny -o edges.mp4``: what a control network will see."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, cast, get_args

from tyro.conf import Positional, arg

from animatediff.apps.destination import check_spared
from animatediff.apps.options.parsing import optional
from animatediff.video.fit import FitName

_FPS = 8


@dataclass(frozen=True)
class PreprocessOptions:
    """Options of ``animatediff preprocess``."""

    input: Annotated[Positional[Path], arg(metavar="VIDEO")]
    """A video, a folder of pictures, or one picture."""
    method: Annotated[Positional[str], arg(metavar="METHOD")]
    """canny, lineart, softedge, hed, tile, shape, or none, as --control-preprocess takes it."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FILE")]
    """The file to write, such as edges.mp4; for a picture, edges.png."""
    size: Annotated[str | None, optional("WxH", default="as it is")] = None
    """Width and height of the animation that will follow it."""
    fit: Annotated[FitName, arg(metavar="NAME")] = "crop"
    """How frames of another shape fit the size: crop, pad or stretch."""


def preprocess(options: PreprocessOptions) -> None:
    """Write what a control network would see of an input.

    Raises:
        InputError, FileError, OutputError: see ``errors.py``.
    """
    from animatediff.apps.commands.animate import parse_size
    from animatediff.options.checks import check_choice
    from animatediff.video import Video
    from animatediff.video.fit import fit_frames
    from animatediff.video.material import read_material
    from animatediff.video.preprocess import PreprocessName, check_preprocess, preprocessed

    check_preprocess(options.method)
    check_choice("METHOD", options.method, get_args(PreprocessName))
    check_spared(options.output, [options.input])
    material = read_material(options.input)
    frames = material.frames
    if options.size is not None:
        width, height = parse_size(options.size)
        frames = fit_frames(frames, width=width, height=height, fit=options.fit)
    drawn = preprocessed(frames, name=cast(PreprocessName, options.method))
    print(Video(drawn, material.fps or Fraction(_FPS)).save(options.output))
