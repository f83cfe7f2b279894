"""Choose what a request leaves open about carrying its still: ``carry``."""

from __future__ import annotations

from animatediff.errors import InputError
from animatediff.sampling.acting.options import acts
from animatediff.sampling.choosing.still import begins_elsewhere, is_placed, scales_motion
from animatediff.sampling.request import AnimationRequest

STILL = "standing still"
"""What a prompt of the built-in model says of a thing that does not move."""


def chosen_carry(request: AnimationRequest, *, usual: float, moves: bool) -> float:
    """How fast the still is carried along the animation's motion; 0 keeps the frames as drawn.

    The motion module's own value is only taken where all frames begin from one still, and nothing else
    says how far things move.

    Args:
        request: a request in which ``from_still`` and ``action`` were chosen.
        usual: what suits the motion module.
        moves: whether there is a motion module.

    Raises:
        InputError: there is no motion, or no one picture, to carry.
    """
    asked = request.carry
    if asked is None:
        return usual if moves and _is_one_still(request) else 0.0
    if asked == 0:
        return 0.0
    if not moves or request.num_frames == 1:
        raise InputError("--carry needs motion; give --motion, and more than one frame.")
    if request.num_frames == 2 and not request.loop:
        raise InputError(
            "--carry ends with its first picture again, so that two frames would not move; ask for at "
            "least 3 frames."
        )
    for option, given in (("--action", acts(request)), ("--keyframe", bool(request.prompts))):
        if given:
            raise InputError(
                f"--carry shows one picture under the animation's motion, which leaves nothing of "
                f"{option}; leave one of them out."
            )
    return asked


def _is_one_still(request: AnimationRequest) -> bool:
    return not (
        request.from_still in (None, 1)
        # The last frame is the first again, so that two would show no motion.
        or request.num_frames in (1, 2)
        or STILL in request.prompt.lower()
        or acts(request)
        or request.prompts
        or request.negative_prompts
        or request.controls
        or request.ip_images
        or request.regions
        or scales_motion(request)
        or request.hires != 1
        or begins_elsewhere(request)
        or is_placed(request)
    )
