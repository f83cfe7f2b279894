"""Choose what a request leaves open about beginning from a still: ``from_still``."""

from __future__ import annotations

from animatediff.errors import InputError
from animatediff.sampling.acting.options import acts
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest

ACTING = 0.0
"""How much of a still that acts is drawn anew: nothing, as each step costs it some of its look."""


def chosen_from_still(
    request: AnimationRequest, *, usual: float, hinted: float, moves: bool
) -> float:
    """How much of the still is drawn anew, from 0 to 1; 1 begins from noise alone.

    The motion module's own values are only taken where nothing else says how the animation begins, and
    either nothing says where things are, or a hint in every frame does.

    Args:
        request: the request.
        usual: what suits the motion module.
        hinted: the same where every frame has a hint.
        moves: whether there is a motion module.

    Raises:
        InputError: there is no motion module, or the animation begins from something else too.
    """
    asked = request.from_still
    other = begins_elsewhere(request)
    if asked is None:
        if acts(request):
            return ACTING
        if not moves or other or request.num_frames == 1 or is_placed(request):
            return 1.0
        return hinted if _counts(request.controls) else usual
    if asked == 1:
        return 1.0
    if not moves:
        raise InputError("--from-still needs a motion module that moves the still; give --motion.")
    if other:
        raise InputError(
            f"--from-still {asked:g} begins from a still, and {other} from something else; leave "
            "one of them out."
        )
    return asked


def begins_elsewhere(request: AnimationRequest) -> str:
    """The option by which an animation begins from something else than a still; empty if none does."""
    beginnings = {
        "--init": request.init,
        "--image": request.image,
        "--free-init": request.free_init > 1,
    }
    return next((option for option, given in beginnings.items() if given), "")


def _counts(controls: tuple[str, ...]) -> bool:
    """Whether a control network has another scale than 0."""
    scales = (parse_lora(name, what="control network")[1] for name in controls)
    return any(scale.least_and_most != (0, 0) for scale in scales)


def scales_motion(request: AnimationRequest) -> bool:
    """Whether a request says how strongly the motion module acts."""
    return bool(request.motion_scale or request.motion_effect)


def is_placed(request: AnimationRequest) -> bool:
    """Whether something but hints of every frame says where things are: pictures or a camera."""
    dense = len(request.control_inputs) == len(request.controls)
    return bool(
        request.sparse
        or not dense
        or request.motion_loras
        or request.camera_path
        or request.object_paths
    )
