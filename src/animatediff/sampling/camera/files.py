"""The files of camera paths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.errors import FileError
from animatediff.sampling.camera.moves import is_moves
from animatediff.sampling.camera.options import check_paths

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def camera_files(request: AnimationRequest) -> dict[str, tuple[Path, ...]]:
    """The file of the camera path, by its role; none if the path is written as moves.

    Raises:
        FileError: it is missing.
    """
    if not request.camera_path or is_moves(request.camera_path):
        return {}
    path = Path(request.camera_path).expanduser()
    if not path.is_file():
        raise FileError(
            f"{path} is missing; --camera-path takes a file of poses, or a move such as zoom-in."
        )
    return {"camera-path": (path,)}


def check_camera_files(request: AnimationRequest) -> None:
    """Check that networks have paths, and that their files are there, before a model is loaded.

    Raises:
        InputError: a network has no path, or a path no network.
        FileError: a file is missing.
    """
    check_paths(request)
    camera_files(request)
