"""Export clips under the names that VBench expects (arXiv 2311.17982): ``PROMPT-INDEX.mp4``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from animatediff.errors import OutputError, reason_of
from animatediff.video import Video

MOST_BYTES = 240
"""Of a file name, so that every file system takes it with its suffix."""


def vbench_name(prompt: str, *, index: int) -> str:
    """Return the file name of a clip. VBench reads the prompt back from it.

    A slash cannot be in a file name and becomes a space; a prompt that is too long is cut at the end.
    """
    words = " ".join(prompt.replace("/", " ").replace("\0", " ").split())
    ending = f"-{index}.mp4"
    room = MOST_BYTES - len(ending)
    return words.encode()[:room].decode(errors="ignore").rstrip() + ending


def export_for_vbench(clips: Iterable[tuple[str, Video]], folder: Path) -> list[Path]:
    """Write clips with their prompts as file names; a repeated prompt counts its clips from 0.

    Args:
        clips: prompts and clips.
        folder: made if it does not exist.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({reason_of(error)}).") from None
    counts: dict[str, int] = {}
    written: list[Path] = []
    for prompt, video in clips:
        index = counts.get(prompt, 0)
        counts[prompt] = index + 1
        written.append(video.save(folder / vbench_name(prompt, index=index)))
    return written
