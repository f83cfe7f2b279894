"""``animatediff finish FILE``: interpolate or replay a finished video, keeping its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from animatediff.apps.destination import plan_destination
from animatediff.apps.parsing import optional
from animatediff.apps.progress import ProgressStyle, open_progress
from animatediff.errors import InputError

OWN_FACTS = ("fps", "frames", "size")
"""Metadata that describes the old file and not how it was made; the new file has its own."""


@dataclass(frozen=True)
class FinishOptions:
    """Options of ``animatediff finish``."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A video, GIF, WebP, APNG or folder of frames."""
    interpolate: Annotated[int, arg(metavar="N")] = 1
    """Multiply the frame rate by N: draw N - 1 frames between every two, by optical flow."""
    loop: FlagCreatePairsOff[bool] = False
    """The video is a loop: also draw frames between the last and the first."""
    pingpong: FlagCreatePairsOff[bool] = False
    """Play it forwards and then backwards."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; by default a new one here, named after FILE."""
    formats: Annotated[str | None, optional("LIST", name="format")] = None
    """mp4, gif, webp, apng, webm or png, or several with commas; by default the output's suffix."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def finish(options: FinishOptions) -> None:
    """Write the finished video with the metadata of the file that it was made from.

    Raises:
        InputError: nothing is to be done, or an option is out of range.
        FileError: the file is missing or broken.
        OutputError: the output cannot be written.
    """
    from animatediff.finishing.finish import finished
    from animatediff.finishing.interpolation import MAX_FACTOR
    from animatediff.video import FORMATS, Video, read_metadata

    if not 1 <= options.interpolate <= MAX_FACTOR:
        raise InputError(f"--interpolate {options.interpolate} is not one of 1 to {MAX_FACTOR}.")
    if options.interpolate == 1 and not options.pingpong:
        raise InputError("There is nothing to do; give --interpolate N or --pingpong.")
    facts = read_metadata(options.file)
    same = options.file.suffix.lstrip(".").lower()
    formats = options.formats or (same if options.output is None and same in FORMATS else None)
    destination = plan_destination(
        options.output, formats=formats, known=FORMATS, name=f"{options.file.stem}-finished"
    )
    destination.check()
    with open_progress(options.progress) as progress:
        progress.stage("read")
        video = Video.load(options.file)
        progress.stage("finish")
        video = finished(
            video,
            interpolate=options.interpolate,
            pingpong=options.pingpong,
            loop=options.loop,
        )
        metadata = {key: text for key, text in facts.items() if key not in OWN_FACTS}
        progress.stage("write", total=len(destination.formats))
        for path in destination.paths():
            written = video.save(path, metadata=metadata)
            progress.tell("written", str(written), {"path": str(written)})
