"""``animatediff rerun FILE``: create an animation again from the request stored in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from animatediff.apps.destination import GRID, plan_destination
from animatediff.apps.options.machine import Memory, runtime_of
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import ProgressStyle, open_progress
from animatediff.errors import FileError


@dataclass(frozen=True)
class RerunOptions:
    """Options of ``animatediff rerun``."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """An animation that animatediff wrote."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; by default a new one here, named after FILE."""
    formats: Annotated[str | None, optional("LIST", name="format")] = None
    """mp4, gif, webp, apng, webm, png, prores, ffv1, av1 or png16, or several with commas; by default
    the output's suffix.
    """
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps; frames are identical only on the device of the first run."""
    compile: bool = False
    """Compile the model with torch.compile; frames may differ by rounding from a run without it."""
    memory: Memory = "full"
    """low copies each layer's weights to the GPU only while it computes."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads; by default one for each core."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def rerun(options: RerunOptions) -> None:
    """Write the animation that a file's request describes; bit for bit on the same machine.

    Raises:
        FileError: the file contains no request, or names weights that are missing or have changed.
        InputError, MemoryLimitError, OutputError, NumericalError: see ``errors.py``.
    """
    from animatediff.sampling.animator import load_request
    from animatediff.video import FORMATS, LEFT_OUT, read_metadata

    facts = read_metadata(options.file)
    if GRID in facts:
        raise FileError(
            f"{options.file} is a grid of several animations; use rerun with one of the single "
            "files."
        )
    request = load_request(options.file).validated()
    same = options.file.suffix.lstrip(".").lower()
    formats = options.formats or (same if options.output is None and same in FORMATS else None)
    destination = plan_destination(
        options.output, formats=formats, known=FORMATS, name=f"{options.file.stem}-again"
    )
    destination.check(frames=request.num_frames)
    with open_progress(options.progress) as progress:
        if LEFT_OUT in facts:
            note = f"{options.file} has {facts[LEFT_OUT]} metadata entries more than are supported."
            progress.tell("note", note, {})
        progress.stage("load")
        from animatediff.apps.render import render

        runtime = runtime_of(options, request=request)
        render([request], destination=destination, runtime=runtime, progress=progress, preview=None)
