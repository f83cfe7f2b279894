"""Datasets as folders: files with a caption beside each, and pictures that are frames of a clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

from animatediff.data.decoding.media import Media
from animatediff.data.layouts.listing import (
    CAPTION_SUFFIXES,
    MAX_CAPTION_BYTES,
    ClipEntry,
    Rows,
    json_object,
)
from animatediff.data.layouts.media_files import first_bytes, is_no_clip, media_kind
from animatediff.errors import FileError, reason_of

FOLDER_CAPTIONS = ("caption.txt", "prompt.txt")
FRAME_FACTS = "frames.json"

_NUMBERED = re.compile(r"^(.*?)(\d+)$")


def read_folder(source: Path, rows: Rows) -> None:
    """Read videos and pictures with a text of the same name, and folders of frames, at any depth."""
    if source.is_file():
        rows.add(source.name, partial(_file_entry, source, source.parent, CAPTION_SUFFIXES))
        return
    add_folder(source, rows, suffixes=CAPTION_SUFFIXES)


def add_folder(
    root: Path,
    rows: Rows,
    *,
    suffixes: tuple[str, ...],
    deep: bool = True,
    first_line: bool = False,
    change: Callable[[ClipEntry], ClipEntry] = lambda entry: entry,
) -> None:
    """List a folder and its subfolders, each once, however many links lead to it.

    Args:
        root: the folder.
        rows: results are added to these.
        suffixes: the suffixes of captions.
        deep: whether subfolders are listed too.
        first_line: whether a caption is only the first line of its file.
        change: applied to every entry.

    Raises:
        FileError: the folder itself cannot be read.
    """
    left_out: list[str] = []
    listed: set[Path] = set()
    for folder in _folders(root, rows, listed) if deep else [root]:
        paths = _visible(folder)
        files = [path for path in paths if not path.is_dir()]
        kinds = {path: media_kind(path) for path in files}
        clips = [path for path in files if kinds[path]]
        pictures = [path for path in clips if kinds[path] == "picture"]
        if folder != root and _are_frames(folder, pictures):
            rows.add(str(folder), lambda f=folder: change(frames_entry(f, root)))
            clips = [path for path in clips if path not in pictures]
        for path in clips:
            rows.add(str(path), lambda p=path: change(_file_entry(p, root, suffixes, first_line)))
        left_out += [
            path.name
            for path in files
            if not kinds[path] and not is_no_clip(path) and b"\0" in first_bytes(path)
        ]
    if left_out:
        count = f"{len(left_out)} files are" if len(left_out) > 1 else "1 file is"
        rows.notes.append(f"{count} neither clips nor captions, and left out: {_some(left_out)}")


def _folders(root: Path, rows: Rows, listed: set[Path]) -> Iterator[Path]:
    """Yield a folder and its subfolders by name; real ones before links to them."""
    waiting = [root]
    links: list[Path] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        real = folder.resolve()
        if real in listed:
            rows.notes.append(
                f"{folder.relative_to(root)} is a link to a folder that is listed already"
            )
            continue
        listed.add(real)
        try:
            inside = [path for path in _visible(folder) if path.is_dir()]
        except OSError as error:
            if folder == root:
                raise FileError(f"{root} cannot be read ({reason_of(error)}).") from None
            rows.notes.append(
                f"{folder.relative_to(root)} cannot be read ({reason_of(error)}), and is left out"
            )
            continue
        yield folder
        inside.reverse()
        waiting += [path for path in inside if not path.is_symlink()]
        links += [path for path in inside if path.is_symlink()]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _some(names: list[str], *, most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def read_frames(source: Path, rows: Rows) -> None:
    """Read one folder of numbered pictures."""
    rows.add(source.name, partial(frames_entry, source, source.parent))


def _file_entry(
    path: Path, root: Path, suffixes: tuple[str, ...], first_line: bool = False
) -> ClipEntry:
    key = path.relative_to(root).with_suffix("").as_posix()
    caption = _caption_beside(path, suffixes, first_line=first_line)
    return ClipEntry(key, Media(path), caption, origin=path.name)


def _are_frames(folder: Path, pictures: list[Path]) -> bool:
    """Return whether pictures are frames of one clip: numbered without a gap, none with a text."""
    if (folder / FRAME_FACTS).is_file():
        return True
    matches = [_NUMBERED.match(path.stem) for path in pictures]
    if len(pictures) < 2 or not all(matches):
        return False
    names = {match[1] for match in matches if match}
    numbers = sorted(int(match[2]) for match in matches if match)
    even = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    captioned = any(path.with_suffix(s).exists() for path in pictures for s in CAPTION_SUFFIXES)
    return len(names) == 1 and even and not captioned


def frames_entry(folder: Path, root: Path) -> ClipEntry:
    """Return the clip whose frames are the numbered pictures of a folder.

    Raises:
        FileError: there are none, or they do not match the folder's description.
    """
    pictures = [p for p in _visible(folder) if media_kind(p) == "picture"]
    if not pictures:
        raise FileError(f"{folder} contains no pictures.")
    numbered = {path: _NUMBERED.match(path.stem) for path in pictures}
    stray = next((path for path, match in numbered.items() if match is None), None)
    if stray is not None:
        raise FileError(f"{stray} needs a number at the end of its name for the order.")
    ordered = sorted(pictures, key=lambda p: int((numbered[p] or [0, 0, 0])[2]))
    fps = None
    if (folder / FRAME_FACTS).is_file():
        facts = json_object((folder / FRAME_FACTS).read_bytes(), where=str(folder / FRAME_FACTS))
        fps = _rate(facts.get("fps"), where=str(folder / FRAME_FACTS))
        count_given = str(facts.get("frames", len(ordered)))
        if count_given != str(len(ordered)):
            raise FileError(f"{folder} has {len(ordered)} of {count_given} frames; get it again.")
    inside = next((folder / name for name in FOLDER_CAPTIONS if (folder / name).is_file()), None)
    beside = folder.with_name(f"{folder.name}.txt")
    text = inside or (beside if beside.is_file() else None)
    return ClipEntry(
        folder.relative_to(root).as_posix(),
        Media(folder, pictures=tuple(ordered), fps=fps),
        _caption_in(text) if text is not None else None,
        origin=folder.name,
    )


def _caption_beside(path: Path, suffixes: tuple[str, ...], *, first_line: bool) -> str | None:
    for suffix in suffixes:
        text = path.with_suffix(suffix)
        if text != path and text.is_file():
            return _caption_in(text, first_line=first_line)
    return None


def _caption_in(path: Path, *, first_line: bool = False) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_CAPTION_BYTES + 1)
    if len(content) > MAX_CAPTION_BYTES:
        raise FileError(f"{path} is over 64 KiB, too large for a caption.")
    try:
        text = content.decode("utf-8-sig")
        return " ".join((text.partition("\n")[0] if first_line else text).split())
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8 text.") from None


def _rate(value: object, *, where: str) -> Fraction | None:
    if value is None:
        return None
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise FileError(f"{where} has fps = {value!r:.40}, which is not a frame rate.")
    return rate
