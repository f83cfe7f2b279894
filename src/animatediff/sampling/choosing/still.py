"""Choose what a request leaves open about beginning from a still: ``from_still``."""

from __future__ import annotations

from animatediff.errors import InputError
from animatediff.sampling.request import AnimationRequest


def chosen_from_still(request: AnimationRequest, *, usual: float, moves: bool) -> float:
    """How much of the still is drawn anew, from 0 to 1; 1 begins from noise alone.

    The motion module's own value is only taken where nothing else says how the animation begins or
    where things are.

    Args:
        request: the request.
        usual: what suits the motion module.
        moves: whether there is a motion module.

    Raises:
        InputError: there is no motion module, or the animation begins from something else too.
    """
    asked = request.from_still
    beginnings = {
        "--init": request.init,
        "--image": request.image,
        "--free-init": request.free_init > 1,
    }
    other = next((option for option, given in beginnings.items() if given), "")
    if asked is None:
        free = moves and not other and not _is_placed(request) and request.num_frames != 1
        return usual if free else 1.0
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


def _is_placed(request: AnimationRequest) -> bool:
    """Whether something says where things are: pictures, hints or a camera."""
    return bool(
        request.sparse
        or request.controls
        or request.motion_loras
        or request.camera_path
        or request.object_paths
    )
