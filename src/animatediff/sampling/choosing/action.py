"""Choose what a request leaves open about its action: the one that its prompt ends with, or none."""

from __future__ import annotations

from dataclasses import replace

from animatediff.errors import InputError
from animatediff.sampling.acting.options import NONE, acts, parse_action
from animatediff.sampling.acting.words import action_in
from animatediff.sampling.choosing.still import begins_elsewhere, is_placed, scales_motion
from animatediff.sampling.request import AnimationRequest
from animatediff.video.actions import ACTIONS


def with_action(request: AnimationRequest, *, by_words: bool, moves: bool) -> AnimationRequest:
    """Return the request with its action; words that name it leave the prompt.

    Args:
        request: the request.
        by_words: whether the model knows no verbs, so that words of the prompt choose the action.
        moves: whether there is a motion module.

    Raises:
        InputError: there is nothing to move by an action, the animation begins from something else, or
            an option would have no effect.
    """
    if request.action is None:
        found = action_in(request.prompt) if by_words and moves and _is_free(request) else None
        if found is None:
            return replace(request, action=NONE)
        action, prompt = found
        if _opens_loop(request, action):
            return replace(request, action=NONE)
        return replace(request, action=action, prompt=prompt)
    if not acts(request):
        return request
    if not moves:
        raise InputError("--action moves a still from frame to frame; give --motion.")
    if other := begins_elsewhere(request):
        raise InputError(
            f"--action {request.action:.40} begins from a still, and {other} from something else; "
            "leave one of them out."
        )
    if request.from_still == 1:
        raise InputError(
            f"--action {request.action:.40} moves a still, and --from-still 1 draws none; leave one of "
            "them out, or give a smaller number."
        )
    if not request.from_still and (option := _moving_option(request)):
        raise InputError(
            f"--action {request.action:.40} takes no denoising step in which {option} could act; leave "
            "it out, or give --from-still 0.3."
        )
    if _opens_loop(request, request.action):
        raise InputError(
            f"--action {request.action:.40} does not end where it begins, as --loop needs; leave one "
            "of them out, or use an action that repeats, such as pulse or to-and-fro."
        )
    return request


def _opens_loop(request: AnimationRequest, action: str | None) -> bool:
    """Whether an action ends elsewhere than it begins, in a clip that is played round and round."""
    if action is None or not request.loop or request.pingpong:
        return False
    return not ACTIONS[parse_action(action)[0]].repeats


def _moving_option(request: AnimationRequest) -> str:
    """The option given that acts in the motion module's steps alone; empty if none is."""
    options = {
        "--motion-scale": request.motion_scale,
        "--motion-effect": request.motion_effect,
        "--motion-lora": request.motion_loras,
        "--camera-path": request.camera_path,
        "--object-path": request.object_paths,
    }
    return next((option for option, given in options.items() if given), "")


def _is_free(request: AnimationRequest) -> bool:
    """Whether nothing but the prompt says what moves, and a still may be drawn."""
    return not (
        request.num_frames == 1
        or request.from_still == 1
        or request.prompts
        or request.controls
        or request.regions
        or scales_motion(request)
        or begins_elsewhere(request)
        or is_placed(request)
    )
