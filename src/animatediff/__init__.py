"""AnimateDiff: motion modules grafted onto a frozen image model (Guo et al., arXiv 2307.04725).

The public names, and nothing else. Each is imported when it is first used, so that importing the
package, as ``animatediff --help`` does, does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animatediff.errors import (
        Cancelled,
        FileError,
        InputError,
        MemoryLimitError,
        NumericalError,
        OutputError,
    )
    from animatediff.runtime import Runtime
    from animatediff.sampling.animation import Animation, Progress
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.metadata import load_request
    from animatediff.sampling.request import AnimationRequest
    from animatediff.video import Video

__all__ = [
    "Animation",
    "AnimationRequest",
    "Animator",
    "Cancelled",
    "FileError",
    "InputError",
    "MemoryLimitError",
    "NumericalError",
    "OutputError",
    "Progress",
    "Runtime",
    "Video",
    "load_request",
]

_ERRORS = (
    "Cancelled",
    "FileError",
    "InputError",
    "MemoryLimitError",
    "NumericalError",
    "OutputError",
)
_HOMES = {
    **dict.fromkeys(_ERRORS, "animatediff.errors"),
    "Animation": "animatediff.sampling.animation",
    "AnimationRequest": "animatediff.sampling.request",
    "Animator": "animatediff.sampling.animator",
    "Progress": "animatediff.sampling.animation",
    "Runtime": "animatediff.runtime",
    "Video": "animatediff.video",
    "load_request": "animatediff.sampling.metadata",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
