"""MotionLoRAs that a prompt names as other programs write them: ``<lora:v2_lora_ZoomIn:1>``.

AUTOMATIC1111's extension loads a MotionLoRA as any LoRA, from the same folder, so its users type
such a name into the prompt. Here it is moved to the request's MotionLoRAs.
"""

from __future__ import annotations

from dataclasses import replace

from animatediff.errors import FileError, InputError
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.prompt_syntax import without_loras
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.inspect import inspect_header
from animatediff.weights.storage.files import is_pickle, read_header


def with_typed_motion_loras(request: AnimationRequest) -> AnimationRequest:
    """Return the request with the MotionLoRAs that its prompts name moved to ``motion_loras``.

    A scale in a prompt takes the place of one in ``motion_loras``.

    Raises:
        InputError: a prompt names a LoRA wrongly, or with several scales.
    """
    typed = request.styles[len(request.loras) :]
    moved = {name: spec for spec in typed if _is_motion_lora(name := parse_lora(spec)[0])}
    if not moved:
        return request
    kept = [each for each in request.motion_loras if parse_lora(each)[0] not in moved]
    return replace(
        request,
        prompt=without_loras(request.prompt, moved),
        prompts={key: without_loras(text, moved) for key, text in request.prompts.items()},
        motion_loras=(*kept, *moved.values()),
    )


def _is_motion_lora(name: str) -> bool:
    """Whether a name means a MotionLoRA and no image LoRA, by the file's content if both have it."""
    try:
        path = resolve("lora", name)
    except (InputError, FileError):
        pass
    else:
        try:
            return not is_pickle(path) and inspect_header(read_header(path)).kind == "motion-lora"
        except FileError:
            return False  # its reader says how it is broken
    try:
        resolve("motion-lora", name)
    except (InputError, FileError):
        return False
    return True
