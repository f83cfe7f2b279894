"""Video containers: how each is written and read, and where it stores metadata.

Every container stores the same metadata as text, including the exact rate and size, because no
container keeps all of that reliably: GIF counts in hundredths of a second, H.264 needs even sizes,
and GIF, WebP and APNG merge equal consecutive frames.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8
from PIL import Image, ImageSequence, PngImagePlugin, UnidentifiedImageError

from animatediff.errors import FileError, InputError, OutputError, reason_of
from animatediff.video.colours import CONVERTING_THREADS, in_bt709, matrix_of, tag_bt709
from animatediff.video.content import HEAD, kind_of
from animatediff.video.deep_png import write_deep_picture
from animatediff.video.facts import (
    EXIF_IFD,
    UNICODE,
    USER_COMMENT,
    Facts,
    facts_of,
    folder_facts,
    picture_facts,
)
from animatediff.video.pictures import count_frames, open_picture, shown, unsupported_picture
from animatediff.video.sound import sound_beside
from animatediff.video.upright import upright_of

Frames = UInt8[np.ndarray, "frames height width 3"]

FORMATS = ("mp4", "gif", "webp", "apng", "webm", "png", "mov", "mkv", "av1.mp4", "png16")
"""The endings of names, each a format: ``mov`` is ProRes, ``mkv`` is lossless FFV1, and ``png16`` is a
folder of PNGs with 16 bits a channel."""
ALIASES = {"prores": "mov", "ffv1": "mkv", "av1": "av1.mp4"}
"""Codecs, and the format that each is written in."""
AV1_SIDE = 64
"""The least side, in pixels, that the AV1 encoder takes."""
MAX_PIXELS = 1 << 30
FRAME_NAME, FRAME_FACTS = "frame_{:04d}.png", "frames.json"

_CODECS = {
    "mp4": ("libx264", {"crf": "14", "preset": "medium"}),
    "webm": ("libvpx-vp9", {"crf": "16", "b:v": "0", "cpu-used": "4"}),
    "mov": ("prores_ks", {"profile": "3", "vendor": "apl0"}),
    "mkv": ("ffv1", {"level": "3", "slices": "4", "slicecrc": "1"}),
    "av1.mp4": ("libsvtav1", {"crf": "20", "preset": "7"}),
}
_PIXELS = {"mov": "yuv422p10le", "mkv": "bgr0", "av1.mp4": "yuv420p10le"}
"""FFmpeg's pixel format of each container, if different from 8-bit yuv420p."""
_MUXERS = {"mkv": "matroska", "av1.mp4": "mp4"}
_WITH_TAGS = {"movflags": "use_metadata_tags+faststart"}
_MUXING = {"mp4": _WITH_TAGS, "mov": _WITH_TAGS, "av1.mp4": _WITH_TAGS}
_FOLDERS = ("png", "png16")
"""Formats that are a folder if there are several frames."""
_PILLOW_FORMATS = {"gif": "GIF", "webp": "WEBP", "apng": "PNG"}
_BROKEN = (
    *(FFmpegError, OSError, SyntaxError, ValueError, UnidentifiedImageError),
    Image.DecompressionBombError,
)
"""Exceptions that container readers raise on broken files."""


# --- writing --------------------------------------------------------------------------------------


def write_video(
    frames: Frames,
    fps: Fraction,
    path: Path,
    *,
    metadata: Mapping[str, str],
    kind: str | None,
    loop: int,
    sound: Path | None = None,
) -> Path:
    """Write frames under ``path``; returns the written path. The result is complete or absent.

    Raises:
        InputError: the format is unknown.
        OutputError: the folder is read-only or full; nothing is left behind.
    """
    kind = (kind or format_of(path) or "").lower()
    kind = ALIASES.get(kind, kind)
    if kind not in FORMATS:
        raise InputError(f"{path.name} has no known video format; use {', '.join(FORMATS)}.")
    count, height, width, _ = frames.shape
    facts = {str(key).lower(): str(value) for key, value in metadata.items()}
    facts |= {"fps": str(fps), "frames": str(count), "size": f"{width}x{height}"}
    if kind in _FOLDERS:
        write = _write_picture if kind == "png" else write_deep_picture
        single = path if kind == "png" else path.with_suffix(".png")
        if count > 1:
            folder = path.with_suffix("")
            return _published(folder, lambda to: _write_folder(to, frames, facts, write=write))
        return _published(single, lambda to: write(to, frames[0], facts))
    if kind == "av1.mp4" and min(height, width) < AV1_SIDE:
        raise InputError(
            f"AV1 needs frames of at least {AV1_SIDE} pixels a side, and these have {width}x{height}; "
            "use mp4, or enlarge them with --upscale."
        )
    if kind in _CODECS:
        return _published(
            path, lambda to: _write_codec(to, frames, fps, facts, kind=kind, sound=sound)
        )
    return _published(path, lambda to: _write_pillow(to, frames, fps, facts, kind=kind, loop=loop))


def format_of(path: Path) -> str | None:
    """The format that a file's name ends in; ``None`` if it is none of ``FORMATS``."""
    name = path.name.lower()
    found = [ending for ending in FORMATS if name.endswith(f".{ending}")]
    return max(found, key=len, default=None)


def _published(path: Path, write: Callable[[Path], None]) -> Path:
    """Write to a temporary name beside ``path``, then rename."""
    # Not after the name, which may be as long as a name can be.
    mark = zlib.crc32(path.name.encode("utf-8", "surrogatepass"))
    temporary = path.with_name(f".animatediff-{os.getpid()}-{mark:08x}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        if path.is_dir():
            _clear_frames(path)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, FFmpegError) as error:
        _discard(temporary)
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise OutputError(
            f"{path} could not be written ({reason}); free some space or choose another folder."
        ) from None
    except BaseException:
        _discard(temporary)
        raise
    return path


def _as_file(path: Path) -> str:
    """A path for FFmpeg, which takes ``fox: a hare.mp4`` for an address of the protocol fox."""
    return f"file:{path}"


def check_target(path: Path, *, kind: str, count: int) -> None:
    """Raise early if a video cannot take its place under ``path`` when it is finished.

    Args:
        path: the file that will be written.
        kind: its format.
        count: how many frames there will be; several PNGs are a folder.

    Raises:
        OutputError: the name cannot be used, or something is there that will not be replaced.
    """
    folder = kind in _FOLDERS and count > 1
    target = path.with_suffix("") if folder else path
    try:
        if not _is_there(target):
            # A file without a name, of which a killed process leaves nothing.
            tempfile.TemporaryFile(dir=target.parent).close()
        elif folder and target.is_dir():
            _check_only_frames(target)
        elif folder or target.is_dir():
            what = "a file" if folder else "a folder"
            raise OSError(17, f"there is {what} of that name")
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({reason_of(error)}); choose another name."
        ) from None
    except ValueError:  # a null character
        raise OutputError(f"{target} is not a name that a file can have; choose another.") from None


def _is_there(path: Path) -> bool:
    """Whether there is something under a name, be it a link to nothing.

    Raises:
        OSError, ValueError: the name is not one that a file can have.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


def _clear_frames(folder: Path) -> None:
    """Remove a folder that contains only our frames, to make room for new ones."""
    _check_only_frames(folder)
    shutil.rmtree(folder)


def _check_only_frames(folder: Path) -> None:
    strangers = [
        p.name
        for p in folder.iterdir()
        if p.name != FRAME_FACTS and not (p.name.startswith("frame_") and p.suffix == ".png")
    ]
    if strangers:
        raise OSError(17, f"the folder exists and contains other files, such as {strangers[0]}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_codec(
    path: Path, frames: Frames, fps: Fraction, facts: Facts, *, kind: str, sound: Path | None
) -> None:
    """Pad odd sizes by repeating the last line: H.264 and VP9 need even sizes."""
    codec, options = _CODECS[kind]
    pixels = _PIXELS.get(kind, "yuv420p")
    os.environ.setdefault("SVT_LOG", "1")  # Only errors: the AV1 encoder prints its settings.
    _, height, width, _ = frames.shape
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    muxer, muxing = _MUXERS.get(kind, kind), _MUXING.get(kind, {})
    with av.open(_as_file(path), "w", format=muxer, options=muxing) as container:
        container.metadata.update(facts)
        stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=options))
        stream.height, stream.width = even.shape[1:3]
        stream.pix_fmt = pixels
        if pixels != "bgr0":
            tag_bt709(stream)
        seconds = len(frames) / fps
        converter = VideoReformatter()
        with sound_beside(container, sound, kind=kind, seconds=seconds) as copy_sound:
            for number, frame in enumerate(even):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(in_bt709(picture, pixels=pixels, by=converter)))
                copy_sound(number / fps)
            container.mux(stream.encode(None))
            copy_sound(seconds)


def _write_pillow(
    path: Path, frames: Frames, fps: Fraction, facts: Facts, *, kind: str, loop: int
) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    options: dict[str, Any]
    # Round the ends, not the lengths, so that rounding errors do not add up.
    unit = 10 if kind == "gif" else 1
    ends = [round(Fraction(1000, unit) * i / fps) * unit for i in range(len(frames) + 1)]
    durations = [max(unit, end - start) for start, end in pairwise(ends)]
    if kind == "gif":
        pictures = _with_one_palette(pictures)
        options = {"comment": json.dumps(facts).encode(), "optimize": False, "disposal": 1}
    elif kind == "webp":
        exif = Image.Exif()
        text = json.dumps(facts, ensure_ascii=False)
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = UNICODE + text.encode("utf-16-be", "replace")
        options = {"exif": exif.tobytes(), "lossless": True, "quality": 60, "method": 3}
    else:
        options = {"pnginfo": _png_text(facts)}
    with path.open("wb") as file:
        pictures[0].save(
            file,
            _PILLOW_FORMATS[kind],
            save_all=True,
            append_images=pictures[1:],
            duration=durations if len(pictures) > 1 else durations[0],
            loop=loop,
            **options,
        )


def _with_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """Quantise all frames to the same 256 colours, chosen from all frames, to avoid flicker."""
    few = pictures[:: max(1, len(pictures) // 16)]
    strip = Image.new("RGB", (few[0].width, few[0].height * len(few)))
    for index, picture in enumerate(few):
        strip.paste(picture, (0, index * picture.height))
    palette = strip.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]


def _png_text(facts: Facts) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    for key, value in facts.items():
        text.add_itxt(key[:79].encode("latin-1", "replace"), value)
    return text


def _write_picture(path: Path, frame: UInt8[np.ndarray, "height width 3"], facts: Facts) -> None:
    with path.open("wb") as file:
        Image.fromarray(frame).save(file, "PNG", pnginfo=_png_text(facts))


def _write_folder(
    folder: Path,
    frames: Frames,
    facts: Facts,
    *,
    write: Callable[[Path, UInt8[np.ndarray, "height width 3"], Facts], None],
) -> None:
    folder.mkdir()
    for index, frame in enumerate(frames):
        write(folder / FRAME_NAME.format(index), frame, facts if index == 0 else {})
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    (folder / FRAME_FACTS).write_text(text, encoding="utf-8")


# --- reading --------------------------------------------------------------------------------------


def read_video(path: Path, *, max_pixels: int) -> tuple[Frames, Fraction]:
    """Read the frames of a file or folder, and their rate.

    Raises:
        FileError: the file is missing, broken, cut short, too large, or not a video.
    """
    kind = _kind_of(path)
    facts = read_metadata(path)
    try:
        if kind == "folder":
            return _read_folder(path, facts, max_pixels)
        if kind != "picture":
            frames, fps = _read_codec(path, max_pixels, demuxer=kind)
        else:
            frames, fps = _read_pillow(path, facts, max_pixels)
    except FileError:
        raise
    except _BROKEN as error:
        raise FileError(f"{path} is broken ({_short(error)}); get it again.") from None
    expected = _whole_number(facts.get("frames"))
    if not len(frames) or (expected is not None and len(frames) < expected):
        raise FileError(
            f"{path} is cut short: it has {len(frames)} of {expected or 'its'} frames; get it again."
        )
    width, height = _size_of(facts, frames)
    return frames[:, :height, :width], _rate_of(facts) or fps


def check_readable(path: Path) -> None:
    """Check by its first bytes that a file is a video or a picture.

    Raises:
        FileError: it is missing, or something else; the error says what can be read.
    """
    _kind_of(path)


def read_metadata(path: str | Path) -> Facts:
    """Read the metadata of a video, with lower-case names.

    At most 1000 entries of 8 million characters in total are read.

    If there is more, the entry ``left out`` gives the number of omitted entries.

    Raises:
        FileError: the file is missing, broken, or not a video.
    """
    path = Path(path)
    kind = _kind_of(path)
    try:
        if kind == "folder":
            return folder_facts(path / FRAME_FACTS)
        if kind != "picture":
            with av.open(_as_file(path), format=kind) as container:
                return facts_of(container.metadata)
        with path.open("rb") as file, open_picture(file) as picture:
            return picture_facts(picture)
    except _BROKEN as error:
        raise FileError(f"{path} is broken ({_short(error)}); get it again.") from None


def _kind_of(path: Path) -> str:
    """Return ``folder``, ``picture`` or FFmpeg's demuxer for what is at a path, by its content."""
    if path.is_dir():
        if (path / FRAME_FACTS).is_file():
            return "folder"
        raise FileError(
            f"{path} is a folder without {FRAME_FACTS}, so it does not contain the "
            "frames of a video."
        )
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {(error.strerror or '?').lower()}.") from None
    if (kind := kind_of(head)) is not None:
        return kind
    if known := unsupported_picture(head):
        raise FileError(f"{path} is {known}.")
    what = "empty" if not head else "not a readable video or picture"
    raise FileError(
        f"{path} is {what}; give an MP4, MOV, WebM, MKV, AVI, GIF, WebP, PNG, JPEG, TIFF, BMP or AVIF."
    )


def _read_codec(path: Path, max_pixels: int, *, demuxer: str) -> tuple[Frames, Fraction]:
    pictures: list[UInt8[np.ndarray, "height width 3"]] = []
    # Named, for a list of other files would be followed.
    with av.open(_as_file(path), format=demuxer) as container:
        if not container.streams.video:
            raise FileError(f"{path} contains no video stream.")
        stream = container.streams.video[0]
        converter = VideoReformatter()
        area = stream.width * stream.height
        _within(path, area * max(1, stream.frames), max_pixels)
        for frame in container.decode(stream):
            _within(path, frame.width * frame.height * (len(pictures) + 1), max_pixels)
            shown = converter.reformat(
                frame,
                format="rgb24",
                src_colorspace=matrix_of(frame),
                threads=CONVERTING_THREADS,
            )
            pictures.append(upright_of(frame)(shown.to_ndarray()))
        if len(pictures) < stream.frames:
            raise FileError(
                f"{path} is cut short: {len(pictures)} of {stream.frames} frames can be decoded; "
                "get it again."
            )
        fps = stream.average_rate or Fraction(8)
    return (np.stack(pictures) if pictures else np.empty((0, 1, 1, 3), np.uint8)), Fraction(fps)


def _read_pillow(path: Path, facts: Facts, max_pixels: int) -> tuple[Frames, Fraction]:
    """Read a picture or an animation, restoring merged equal frames."""
    with path.open("rb") as file, open_picture(file) as picture:
        count = count_frames(picture)
        _within(path, picture.width * picture.height * count, max_pixels)
        pictures: list[UInt8[np.ndarray, "height width 3"]] = []
        durations: list[float] = []
        for frame in islice(ImageSequence.Iterator(picture), count):
            pictures.append(shown(frame))
            durations.append(float(frame.info.get("duration", 0)) or 100.0)
    fps = _rate_of(facts) or Fraction(round(1000 / float(np.median(durations)) * 100), 100)
    ends = np.round(np.cumsum(durations) / 1000 * float(fps)).astype(int)
    repeats = np.maximum(1, np.diff(ends, prepend=0))
    wanted = _whole_number(facts.get("frames"))
    if wanted is not None and wanted >= len(pictures):
        repeats[-1] = max(1, repeats[-1] + wanted - int(repeats.sum()))
    _within(path, pictures[0].size // 3 * int(repeats.sum()), max_pixels)
    return np.repeat(np.stack(pictures), repeats, axis=0), fps


def _read_folder(folder: Path, facts: Facts, max_pixels: int) -> tuple[Frames, Fraction]:
    names = [FRAME_NAME.format(i) for i in range(_whole_number(facts.get("frames")) or 0)]
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if not names or missing:
        raise FileError(f"{folder} lacks {missing or 'its frames'}; write the animation again.")
    return np.stack(list(_pictures((folder / n for n in names), max_pixels))), (
        _rate_of(facts) or Fraction(8)
    )


def _pictures(paths: Iterable[Path], max_pixels: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    total = 0
    for path in paths:
        with Image.open(path, formats=["PNG"]) as picture:
            total += picture.width * picture.height
            _within(path, total, max_pixels)
            yield shown(picture)


def _within(path: Path, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise FileError(
            f"{path} has {pixels:,} pixels or more; at most {max_pixels:,} are decoded. Cut it "
            "or make it smaller."
        )


def _size_of(facts: Facts, frames: Frames) -> tuple[int, int]:
    """Crop to the true size, if an odd size was padded."""
    _, height, width, _ = frames.shape
    size_fact = facts.get("size", "").partition("x")
    own = _whole_number(size_fact[0]), _whole_number(size_fact[2])
    fits = own[0] in (width, width - 1) and own[1] in (height, height - 1)
    return (cast(int, own[0]), cast(int, own[1])) if fits else (width, height)


def _rate_of(facts: Facts) -> Fraction | None:
    try:
        rate = Fraction(facts["fps"])
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return rate if 0 < rate <= 1000 else None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120].rstrip(".")
