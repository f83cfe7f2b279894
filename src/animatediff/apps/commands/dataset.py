"""``animatediff dataset``: check a dataset, encode it into shards, or render the built-in one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from animatediff.apps.destination import check_room, check_writable
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import ProgressStyle, open_progress
from animatediff.errors import FileError, InputError

if TYPE_CHECKING:
    from animatediff.data.builds.samples import BuildOptions, Encoder
    from animatediff.data.builds.write import BuildReport, Labour
    from animatediff.data.decoding.media import Limits
    from animatediff.data.layouts.listing import Listing

Layout = Literal[
    "auto", "folder", "frames", "metadata", "webvid", "jsonl", "toml", "lists", "webdataset"
]


@dataclass(frozen=True)
class Emoji:
    """Download pinned packages, check them, and render the built-in world's stills and clips."""

    work: Path = Path("build/emoji")
    """The world folder to create."""


@dataclass(frozen=True)
class Check:
    """Decode every clip and report problems, without changing anything.

    The exit code is 3 if too many clips are bad.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """A folder of clips, or a table or archive of them."""
    layout: Layout = "auto"
    """The layout; auto detects it from the content."""
    videos: Annotated[Path | None, optional("FOLDER", default="the table's own")] = None
    """The folder that names in a table are relative to."""
    fps: str = "8"
    """The frame rate of the training, to find clips that are too short."""
    frames: int = 16
    """The number of consecutive frames of the training."""
    flip: bool = False
    """Clips will be mirrored: list captions that mention left or right."""
    max_bad: float = 0.1
    """The share of clips that may be bad."""
    sheet: Annotated[Path | None, optional("FILE.png")] = None
    """Write a contact sheet: four moments of up to 60 clips."""
    json: bool = False
    """Print everything as JSON."""
    workers: Annotated[int | None, optional("N", default="one for each core")] = None
    """Number of clips to decode at once."""
    max_seconds: float = 600.0
    """The longest clip to decode."""
    timeout: float = 120.0
    """Seconds after which decoding a clip is stopped."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


@dataclass(frozen=True)
class Build:
    """Cut scenes, resample, crop, encode with a model, and write shards.

    An interrupted build continues. If the dataset has changed, only new samples are encoded.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """A folder of clips, or a table or archive of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="SHARDS")]
    """The folder to write shards to."""
    layout: Layout = "auto"
    """The layout; auto detects it from the content."""
    videos: Annotated[Path | None, optional("FOLDER", default="the table's own")] = None
    """The folder that names in a table are relative to."""
    model: str = "emoji"
    """The image model that encodes, a name or a path; none stores only frames."""
    size: Annotated[str | None, optional("WxH", default="the model's")] = None
    """The size that clips are scaled and cropped to."""
    fps: str = "8"
    """Frames per second."""
    frames: int = 16
    """The fewest frames of a sample; shorter scenes are left out. Use 1 for pictures."""
    longest: int = 64
    """The most frames of a sample; longer scenes become several samples."""
    cut_scenes: bool = True
    """Cut clips at scene changes."""
    keep_static: bool = False
    """Keep clips without any motion."""
    least_motion: float = 0.0
    """Leave out clips that change less, as a share of full scale a second."""
    most_motion: Annotated[float | None, optional("FLOAT", default="any")] = None
    """Leave out clips that change more, as a share of full scale a second."""
    most_overlay: Annotated[float | None, optional("SHARE", default="any")] = None
    """Leave out clips with a watermark or logo: edges that stay in place while the picture moves take
    more than this share of it. Try 0.015."""
    pixels: bool = True
    """Store the frames too, losslessly, beside the encoded form."""
    max_bad: float = 0.1
    """The share of clips that may be bad; with more, the build stops."""
    caption: str | None = None
    """One caption for all clips."""
    caption_from_names: bool = False
    """Store file names as captions where clips have none; without it, more than a tenth of such clips
    stops the build."""
    json: bool = False
    """Print a summary as JSON."""
    workers: Annotated[int | None, optional("N", default="one for each core")] = None
    """Number of clips to decode at once."""
    max_seconds: float = 600.0
    """The longest clip to decode."""
    timeout: float = 120.0
    """Seconds after which decoding a clip is stopped."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1 or mps."""
    ray: Annotated[str | None, optional("ADDRESS", default="this machine")] = None
    """Build on a Ray cluster: its address, auto for this machine's, or local to start one. With it,
    --workers is the number of actors; by default one for each GPU, or for each node. More actors than
    GPUs share them, so that some decode while others encode."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads of the model."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


Options = (
    Annotated[Emoji, tyro.conf.subcommand("emoji")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Build, tyro.conf.subcommand("build")]
)


def dataset(options: Options) -> int:
    """Run the subcommand of ``dataset``.

    Raises:
        InputError: there is no such dataset, or an option cannot be used.
        FileError: a table cannot be read at all, or too many clips are bad.
        OutputError: a result cannot be written.
    """
    match options:
        case Emoji():
            return _emoji(options)
        case Check():
            return _check(options)
        case Build():
            return _build(options)


def _emoji(options: Emoji) -> int:
    from animatediff.world.art.emoji import render_world

    check_room(options.work / "counts.json", option="--work")
    for kind, count in render_world(options.work).items():
        print(f"{kind:14} {count}")
    return 0


def _check(options: Check) -> int:
    from animatediff.data.checking.check import CheckOptions, check_clips, write_contact_sheet

    limits, rate = _limits(options), _rate(options.fps)
    if options.sheet is not None:
        check_writable(options.sheet, option="--sheet")
    listing = _listing(options)
    wanted = CheckOptions(
        fps=float(rate),
        frames=options.frames,
        flip=options.flip,
        max_bad=options.max_bad,
    )
    with open_progress(options.progress) as progress:
        progress.stage("look", total=len(listing))
        report = check_clips(
            listing,
            wanted,
            workers=options.workers or os.cpu_count() or 1,
            limits=limits,
            watch=lambda done, _: progress.at(done),
        )
        if options.sheet is not None:
            write_contact_sheet(report, options.sheet)
        facts = report.to_json() | {"sheet": str(options.sheet) if options.sheet else None}
        text = json.dumps(facts, indent=1) if options.json else "\n".join(report.lines())
        progress.tell("report", text, facts)
    if not report.usable:
        raise FileError(
            f"{len(report.bad)} of {report.total} clips of {options.data} are bad; at most "
            f"{options.max_bad:.0%} may be."
        )
    return 0


def _build(options: Build) -> int:
    from dataclasses import asdict

    from animatediff.data.builds.samples import BuildOptions
    from animatediff.data.builds.write import build_shards

    limits, rate = _limits(options), _rate(options.fps)
    listing = _captioned(_listing(options), options)
    encoder, size = _encoder(options)
    wanted = BuildOptions(
        size=size,
        fps=rate,
        frames=options.frames,
        longest=max(options.longest, options.frames),
        cut_scenes=options.cut_scenes,
        keep_static=options.keep_static,
        least_motion=options.least_motion,
        most_motion=options.most_motion,
        most_overlay=options.most_overlay,
        pixels=options.pixels,
        max_bad=options.max_bad,
    )
    with open_progress(options.progress) as progress:
        stage = ""

        def watch(name: str, done: int, total: int) -> None:
            nonlocal stage
            if name != stage:
                progress.stage(name, total=total)
                stage = name
            progress.at(done)

        with _labour(options, wanted, limits) as labour:
            report = build_shards(
                listing,
                options.output,
                wanted,
                encoder=encoder,
                workers=options.workers or os.cpu_count() or 1,
                limits=limits,
                labour=labour,
                watch=watch,
            )
        facts = asdict(report) | {"output": str(options.output)}
        text = json.dumps(facts, indent=1) if options.json else _summary(report, options.output)
        progress.tell("report", text, facts)
    return 0


@contextlib.contextmanager
def _labour(options: Build, wanted: BuildOptions, limits: Limits) -> Generator[Labour | None]:
    """The cluster that --ray names; ``None`` for this machine."""
    if options.ray is None:
        yield None
        return
    from animatediff.apps.cluster.building import OnCluster, Order
    from animatediff.apps.cluster.joining import ClusterOptions
    from animatediff.model.fast.linear_library import choices_here

    libraries = choices_here()
    order = Order(wanted, options.model, limits, options.device, options.threads, libraries)
    cluster = ClusterOptions(options.ray, options.workers or 0, options.device, options.threads)
    labour = OnCluster(order, cluster)
    try:
        yield labour
    finally:
        labour.close()


def _summary(report: BuildReport, output: Path) -> str:
    lines = [
        f"{report.samples} samples in {report.shards} shards in {output}, {report.made} of them new"
    ]
    if report.dropped:
        lines.append(f"{report.dropped} removed, whose clips changed or are gone")
    lines += [f"{count} left out: {reason}" for reason, count in report.left_out.items()]
    lines += [f"bad: {reason}" for reason in list(report.bad.values())[:20]]
    if len(report.bad) > 20:
        lines.append(f"bad: {len(report.bad) - 20} more, see {output / 'quarantine.jsonl'}")
    return "\n".join(lines)


def _listing(options: Check | Build) -> Listing:
    from animatediff.data.layouts.detect import list_clips

    return list_clips(
        options.data,
        layout=None if options.layout == "auto" else options.layout,
        videos=options.videos,
    )


def _captioned(listing: Listing, options: Build) -> Listing:
    """The listing with the one caption that was given, or its own."""
    from dataclasses import replace

    from animatediff.data.layouts.captions import check_captioned

    if options.caption is not None:
        entries = tuple(replace(entry, caption=options.caption) for entry in listing.entries)
        return replace(listing, entries=entries)
    if not options.caption_from_names:
        check_captioned(listing, use="stored under")
    return listing


def _limits(options: Check | Build) -> Limits:
    from animatediff.data.decoding.media import Limits

    if options.timeout <= 0 or options.max_seconds <= 0:
        raise InputError("--timeout and --max-seconds must be above 0.")
    return Limits(seconds=options.max_seconds, timeout=options.timeout)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise InputError(
            f"--fps {text:.40} is not a frame rate; write for example 8 or 24000/1001."
        )
    return rate


def _encoder(options: Build) -> tuple[Encoder | None, tuple[int, int]]:
    """Load the model that encodes, if any, and choose the size of samples."""
    from animatediff.apps.commands.animate import parse_size

    asked = parse_size(options.size) if options.size is not None else None
    if options.model == "none":
        return None, asked or (256, 256)
    from animatediff.apps.encoding import load_encoder

    return load_encoder(options.model, size=asked, device=options.device, threads=options.threads)
