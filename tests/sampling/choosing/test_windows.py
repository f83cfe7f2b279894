"""Windows and noise of clips that are longer than a window, where the request leaves them open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.windows import with_windows
from animatediff.sampling.request import AnimationRequest

LONG: dict[str, Any] = {"num_frames": 20, "window_length": 8}


@pytest.mark.parametrize(
    ("changes", "noise", "overlap"),
    [
        (LONG, "freenoise", 4),
        (LONG | {"noise": "independent"}, "independent", 2),
        (LONG | {"window_overlap": 3}, "freenoise", 3),
        (LONG | {"init": "fox.mp4"}, "independent", 2),
        (LONG | {"windows_in": "attention"}, "freenoise", 6),
        (LONG | {"windows_in": "attention", "noise": "independent"}, "independent", 6),
        ({"num_frames": 4}, "independent", 1),
        ({"num_frames": 4, "loop": True}, "independent", 1),
        (LONG | {"loop": True}, "freenoise", 4),
    ],
)
def test_a_clip_of_several_windows_begins_with_shuffled_noise(
    animator: Animator,
    request_of: AnimationRequest,
    changes: dict[str, Any],
    noise: str,
    overlap: int,
) -> None:
    family = animator.model.family
    kept, plan = with_windows(replace(request_of, **changes), family=family, moves=True)
    assert (kept.noise, plan.overlap) == (noise, overlap)
    again, same = with_windows(kept, family=family, moves=True)
    assert (again, same) == (kept, plan)


def test_pictures_without_a_motion_module_have_noise_of_their_own(
    animator: Animator, request_of: AnimationRequest
) -> None:
    family = animator.model.family
    kept, _ = with_windows(replace(request_of, **LONG), family=family, moves=False)
    assert kept.noise == "independent"
