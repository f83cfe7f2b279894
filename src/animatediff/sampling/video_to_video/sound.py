"""The sound that an animation keeps of the video that it began from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.sampling.video_to_video.options import GIVEN_FRAMES
from animatediff.video.sound import fits, holds_sound, sound_codec

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def sound_of(request: AnimationRequest) -> Path | None:
    """The file whose sound belongs to an animation; none if it is also played backwards."""
    if not request.sound or not request.init or request.init == GIVEN_FRAMES or request.pingpong:
        return None
    path = Path(request.init).expanduser()
    return path if path.is_file() and sound_codec(path) is not None else None


def lost_sound(path: Path | None, *, kind: str) -> str:
    """A sentence if a container cannot hold the sound of a file; empty otherwise."""
    codec = None if path is None else sound_codec(path)
    if codec is None or not holds_sound(kind) or fits(codec, kind):
        return ""
    return (
        f"The sound of {path} is {codec}, which {kind} files cannot hold as it is; it is left out."
    )
