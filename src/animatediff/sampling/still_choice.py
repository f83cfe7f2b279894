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
    asked, otherwise = request.from_still, _begins_otherwise(request)
    if asked is None or asked == 1:
        return 1.0 if asked == 1 or not moves or otherwise or request.num_frames == 1 else usual
    if not moves:
        raise InputError("--from-still needs a motion module that moves the still; give --motion.")
    if request.init or request.image or request.free_init > 1:
        raise InputError(
            f"--from-still {asked:g} begins from a still, and {otherwise} from something else; leave "
            "one of them out."
        )
    return asked


def _begins_otherwise(request: AnimationRequest) -> str:
    """The option that says how an animation begins or where things are; empty if there is none."""
    given = {
        "--init": request.init,
        "--image": request.image,
        "--sparse": request.sparse,
        "--free-init": request.free_init > 1,
        "--control": request.controls,
        "--motion-lora": request.motion_loras,
        "--camera": request.camera_path,
        "--object-motion": request.object_paths,
    }
    return next((option for option, value in given.items() if value), "")
