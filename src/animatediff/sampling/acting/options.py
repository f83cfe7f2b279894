"""The option that says what a thing does, such as ``bounce:0.5``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from animatediff.errors import InputError
from animatediff.options.declaration import Option
from animatediff.options.named_strength import split_strength
from animatediff.video.actions import ACTIONS

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

NONE = "none"
MAX_TEXT = 100

Action = Annotated[
    str | None,
    Option(
        "What the thing does: a still of the prompt is moved by rule, and frames begin from it (see "
        f"--from-still). One of {', '.join(sorted(ACTIONS))}, or {NONE}; bounce:0.5 goes half as far.",
        group="Motion",
        metavar="NAME[:SIZE]",
        most_characters=MAX_TEXT,
        unset="with the built-in motion module, the action that a prompt such as 'a frog bouncing' "
        f"ends with; otherwise {NONE}",
        example="bounce",
    ),
]


def parse_action(text: str) -> tuple[str, float]:
    """Split ``bounce:0.5`` into the action's name and how far it goes; ``none`` goes nowhere.

    Raises:
        InputError: there is no such action, or the number is not above 0 and at most 2.
    """
    if text == NONE:
        return NONE, 0.0
    name = text.partition(":")[0]
    if name not in ACTIONS:
        raise InputError(
            f"There is no action {name!r:.40}; use {', '.join(sorted(ACTIONS))} or {NONE}."
        )
    return split_strength(text, what="size of an action")


def acts(request: AnimationRequest) -> bool:
    """Whether a request names an action."""
    return request.action not in (None, NONE)


def check_action(request: AnimationRequest) -> None:
    """Check the action that a request names.

    Raises:
        InputError: it cannot be parsed, or there is one frame alone.
    """
    if request.action is None:
        return
    parse_action(request.action)
    if acts(request) and request.num_frames == 1:
        raise InputError("--action moves a still from frame to frame; give more than one frame.")
