"""What was given and changes nothing is named in the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.unused import notes_on_unused


def notes(animator: Animator, request: AnimationRequest, **changes: Any) -> list[str]:
    return notes_on_unused(settle(replace(request, **changes), animator.model))


@pytest.mark.parametrize(
    ("given", "missing", "says"),
    [
        ({"hold": 0.5}, {"prompts": {"0": "a", "1": "b"}}, "--hold changes nothing here"),
        ({"region_soft": 0.3}, {"regions": ("a cat@0.5,0,1,1",)}, "on --region"),
        ({"hires_strength": 0.3}, {"hires": 2.0}, "--hires-strength changes nothing"),
        (
            {"guidance": 1.0, "negative_prompt": "ugly", "guidance_rescale": 0.5},
            {"guidance": 3.0},
            "--negative and --guidance-rescale change nothing here: they act on a guidance",
        ),
        ({"window_stride": 2}, {"num_frames": 8, "window_length": 4}, "longer than a window"),
        (
            {"window_changes": ("0.5:length=2",), "steps": 1, "num_frames": 8, "window_length": 4},
            {"steps": 2},
            "--window-change changes nothing here: it acts on a step after the first",
        ),
        ({"object_until": 500.0}, None, "on --object-path"),
        ({"ip_between": "hold"}, None, "on --ip-image"),
        ({"init_fit": "stretch"}, None, "on --init"),
        ({"sparse_motion": 0.5, "sparse_others": 0.5}, None, "on --control or --sparse"),
    ],
)
def test_an_option_without_what_it_acts_on_is_named(
    animator: Animator,
    request_of: AnimationRequest,
    given: dict[str, Any],
    missing: dict[str, Any] | None,
    says: str,
) -> None:
    (note,) = notes(animator, request_of, **given)
    assert says in note
    if missing is not None:
        assert notes(animator, request_of, **{**given, **missing}) == []


def test_a_plain_request_has_no_such_note_and_an_animation_has_it_in_its_report(
    animator: Animator, request_of: AnimationRequest
) -> None:
    assert notes(animator, request_of) == []
    made = animator.animate(replace(request_of, steps=1, hold=0.5))
    assert any(note.startswith("--hold changes nothing") for note in made.report.notes)
