"""``animatediff finish FILE``: interpolate, enlarge or replay a video, keeping its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from animatediff.apps.commands.animate import check_plays
from animatediff.apps.destination import plan_destination
from animatediff.apps.options.parsing import optional
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
    loop_count: Annotated[int, arg(metavar="N")] = 0
    """How often GIF, WebP and APNG play; 0 is forever."""
    interpolator: Annotated[str | None, optional("NAME")] = None
    """A network for --interpolate instead of optical flow: a name, or a file of RIFE 4.25, 4.26 or
    FILM.
    """
    upscale: Annotated[int | None, optional("N")] = None
    """Enlarge frames N times by a network; with --upscaler alone, as much as it enlarges."""
    upscaler: Annotated[str | None, optional("NAME")] = None
    """The network: a name, or a file of ESRGAN, its compact form or RealPLKSR. The default is the
    built-in one, if this installation has one.
    """
    loop: FlagCreatePairsOff[bool] = False
    """The video is a loop: also draw frames between the last and the first."""
    pingpong: FlagCreatePairsOff[bool] = False
    """Play it forwards and then backwards."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; by default a new one here, named after FILE."""
    formats: Annotated[str | None, optional("LIST", name="format")] = None
    """mp4, gif, webp, apng, webm, png, prores, ffv1, av1 or png16, or several with commas; by default
    the output's suffix.
    """
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """Where networks run: auto, cpu, cuda, cuda:1 or mps."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def finish(options: FinishOptions) -> None:
    """Write the finished video with the metadata of the file that it was made from.

    Raises:
        InputError: no operation is selected, or an option is out of range.
        FileError: the file is missing or broken.
        OutputError: the output cannot be written.
    """
    from animatediff.finishing.finish import Finish, finished
    from animatediff.finishing.interpolation import MAX_FACTOR
    from animatediff.video import FORMATS, Video, read_metadata

    if not 1 <= options.interpolate <= MAX_FACTOR:
        raise InputError(f"--interpolate {options.interpolate} is not one of 1 to {MAX_FACTOR}.")
    upscaler, factor = _upscaler_of(options)
    finish = Finish(
        interpolate=options.interpolate,
        interpolator=_interpolator_of(options),
        upscale=factor,
        upscaler=upscaler,
        pingpong=options.pingpong,
        loop=options.loop,
        device=_device_of(options) if factor != 1 or options.interpolator else "cpu",
    )
    if finish.is_nothing:
        raise InputError("There is nothing to do; give --interpolate N, --upscale N or --pingpong.")
    if options.loop and (options.interpolate == 1 or options.pingpong):
        raise InputError(
            "--loop draws frames between the last and the first, for --interpolate N without "
            "--pingpong; leave it out."
        )
    plays = check_plays(options.loop_count)
    facts = read_metadata(options.file)
    same = options.file.suffix.lstrip(".").lower()
    formats = options.formats or (same if options.output is None and same in FORMATS else None)
    destination = plan_destination(
        options.output, formats=formats, known=FORMATS, name=f"{options.file.stem}-finished"
    )
    destination.check(spared=[options.file])
    with open_progress(options.progress) as progress:
        progress.stage("read")
        video = Video.load(options.file)
        progress.stage("finish")
        current = ""

        def on_frame(stage: str, done: int, of: int) -> None:
            nonlocal current
            if stage != current:
                current = stage
                progress.stage(stage, total=of)
            progress.at(done)

        video = finished(video, finish, on_frame=on_frame)
        # Sound played backwards would not be the video's.
        sound = None if options.pingpong or options.file.is_dir() else options.file
        metadata = {key: text for key, text in facts.items() if key not in OWN_FACTS}
        progress.stage("write", total=len(destination.formats))
        for path in destination.paths():
            written = video.save(path, loop=plays, metadata=metadata, sound=sound)
            progress.tell("written", str(written), {"path": str(written)})


def _upscaler_of(options: FinishOptions) -> tuple[Path | None, int]:
    """Return the file of the upscaler and its factor; ``None`` and 1 without one."""
    if options.upscale == 1 and options.upscaler is not None:
        raise InputError("--upscaler enlarges, and --upscale 1 does not; leave one of them out.")
    if options.upscale == 1 or (options.upscale is None and options.upscaler is None):
        return None, 1
    from animatediff.finishing.upscaling import MAX_FACTOR
    from animatediff.weights.finding.builtin import default_upscaler, resolve
    from animatediff.weights.upscalers import read_upscaler

    path = resolve("upscaler", options.upscaler) if options.upscaler else default_upscaler()
    factor = read_upscaler(path).scale if options.upscale is None else options.upscale
    if not 1 <= factor <= MAX_FACTOR:
        raise InputError(f"--upscale {factor} is not one of 1 to {MAX_FACTOR}.")
    return path, factor


def _interpolator_of(options: FinishOptions) -> Path | None:
    if options.interpolator is None:
        return None
    from animatediff.weights.finding.builtin import resolve

    if options.interpolate == 1:
        raise InputError("--interpolator needs --interpolate N, such as --interpolate 2.")
    return resolve("interpolator", options.interpolator)


def _device_of(options: FinishOptions) -> str:
    from animatediff.runtime import Runtime

    runtime = Runtime(device=options.device, threads=options.threads)
    runtime.apply()
    return str(runtime.torch_device())
