"""``animatediff convert FILE -o OUT``: convert a weight file to another layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from animatediff.apps.destination import check_room
from animatediff.apps.options.parsing import optional


@dataclass(frozen=True)
class ConvertOptions:
    """Options of ``animatediff convert``."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A safetensors file, or an old .ckpt, .pt, .pth or .bin, which is read as data and never run."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT")]
    """The .safetensors file to write; for motion modules in diffusers' layout, a folder works too."""
    layout: Literal["same", "ours", "authors", "diffusers", "hotshot", "kohya"] = "same"
    """The layout to write; same keeps it. Motion modules support all but kohya, domain adapters and
    MotionLoRAs all but hotshot, and other files only same.
    """
    family: Annotated[str | None, optional("NAME", default="auto")] = None
    """A motion module's family, if its file does not determine it: v1, v2, v3, animatelcm, ..."""
    gain: Annotated[float | None, optional("X", default="1")] = None
    """For a domain adapter, MotionLoRA, ControlNet or SparseCtrl network: make the effect of scale X
    the new scale 1; below 0, write the opposite move of a MotionLoRA trained in both directions.
    """
    motion_guidance: Annotated[float | None, optional("X", default="what the file says")] = None
    """For a MotionLoRA: the default of `animate --motion-guidance` with this file."""


def convert(options: ConvertOptions) -> None:
    """Write the file and print a summary.

    Raises:
        FileError, InputError, OutputError: see ``errors.py``.
    """
    from animatediff.weights.convert import convert as written
    from animatediff.weights.motion import AUTO
    from animatediff.weights.names.layouts import KINDS

    check_room(options.output, option="-o")
    done = written(
        options.file,
        options.output,
        layout=options.layout,
        family=options.family or AUTO,
        gain=1.0 if options.gain is None else options.gain,
        motion_guidance=options.motion_guidance,
    )
    what = KINDS[done.kind].partition(" ")[2] if done.kind else "file"
    family = f" {done.family}" if done.family else ""
    route = (
        f"{done.source_layout} layout"
        if done.layout == "same"
        else f"{done.source_layout} layout to {done.layout}"
    )
    named = f" ({route})" if done.source_layout else ""
    print(f"{done.path}: {what}{family}, {done.tensors} tensors{named}")
    for note in done.notes:
        print(note)
