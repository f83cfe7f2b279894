"""The report on an animation: device, weights, times, and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from animatediff.sampling.inputs import input_digests
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.metadata import Report, versions
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import Settled
from animatediff.sampling.text.learned_words import unknown_words, unused_words
from animatediff.sampling.text.prompt_syntax import take_loras
from animatediff.sampling.unused import notes_on_unused
from animatediff.weights.families import Family
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.lora import LoadedLora
from animatediff.weights.roles import NO_MOTION, RoleName
from animatediff.weights.storage.files import sha256_of
from animatediff.weights.textual_inversion import Word

MOST_DISTILLED = 2.0
"""The guidance scale up to which distilled models (LCM, Lightning) keep their contrast."""
LARGE = 1.5
"""Times the size that the model was trained at, beyond which a picture is said to be large."""


def report_on(
    settled: Settled,
    *,
    loaded: Loaded,
    family: Family,
    notes: Sequence[str],
    styles: Mapping[Path, LoadedLora],
    files: Mapping[str, Path],
    words: Sequence[Word],
    device: torch.device,
    clock: Sequence[float],
) -> Report:
    """Return the report on a finished animation.

    Args:
        settled: the request.
        loaded: the animator's files.
        family: of the motion module.
        notes: sentences about its files.
        styles: the LoRAs of the request, by file.
        files: weight files of every request, by role.
        words: the loaded textual inversions.
        device: the device.
        clock: times in seconds before encoding, before denoising, before decoding,
            before finishing, and at the end.

    Raises:
        FileError: a weight file cannot be read any more.
    """
    still = loaded.motion == NO_MOTION
    every = [
        *notes,
        *_notes_on_loras(settled.request, styles),
        *_notes_on_words(settled, words),
        *_notes_on_size(settled),
        *_notes_on_guidance(settled, family=family),
        *notes_on_unused(settled),
        *([] if still else _notes_on_motion(settled, family=family, loaded=loaded)),
    ]
    read = {**files, **{f"lora:{path.stem}": path for path in styles}}
    finishing: Mapping[RoleName, str] = {
        "upscaler": settled.request.upscaler,
        "interpolator": settled.request.interpolator,
    }
    read |= {role: resolve(role, name) for role, name in finishing.items() if name}
    stages = zip(("encode", "denoise", "decode", "finish"), clock, clock[1:], strict=False)
    return Report(
        notes=tuple(every),
        family="" if still else family.name,
        windows=settled.views or settled.windows,
        device=str(device),
        precision=settled.request.precision,
        versions=versions(),
        template=dict(settled.template),
        coverage={path.stem: style.coverage for path, style in styles.items()},
        sha256s={
            **{role: sha256_of(path) for role, path in read.items()},
            **input_digests(settled.request),
        },
        seconds={stage: later - earlier for stage, earlier, later in stages},
    )


def _notes_on_loras(request: AnimationRequest, styles: Mapping[Path, LoadedLora]) -> list[str]:
    notes: list[str] = []
    if take_loras(request.negative_prompt)[1]:
        notes.append("A LoRA in the negative prompt has no effect; name it in the prompt.")
    return [*notes, *(note for style in styles.values() for note in style.notes)]


def _notes_on_words(settled: Settled, words: Sequence[Word]) -> list[str]:
    request = settled.request
    texts = [request.prompt, *request.prompts.values(), *request.regions]
    negative = " ".join([request.negative_prompt, *request.negative_prompts.values()])
    unknown = unknown_words(words, texts=[*texts, negative])
    if settled.is_guided:
        return [*unknown, *unused_words(words, texts=[*texts, negative], negative="")]
    return [*unknown, *unused_words(words, texts=texts, negative=negative)]


def _notes_on_size(settled: Settled) -> list[str]:
    """Return a note if frames are much larger than the model's training pictures."""
    width, height, side = settled.width, settled.height, settled.side
    if max(width, height) <= LARGE * side:
        return []
    return [
        f"The model was trained at {side}x{side}, and {width}x{height} was drawn; far beyond its own "
        "size a model repeats or breaks up what it draws."
    ]


def _notes_on_guidance(settled: Settled, *, family: Family) -> list[str]:
    """A note if a distilled model is guided more than it can be."""
    distilled = settled.request.scheduler == "lcm" or family.guidance <= MOST_DISTILLED
    if not distilled or settled.guidance <= MOST_DISTILLED:
        return []
    return [
        f"A guidance scale of {settled.guidance:g} overexposes a model that was distilled to a few "
        f"steps; use 1 to {MOST_DISTILLED:g}."
    ]


def _notes_on_motion(settled: Settled, *, family: Family, loaded: Loaded) -> list[str]:
    """Return notes on settings for which the motion module was not trained."""
    notes: list[str] = []
    if loaded.numerics != "faithful":
        notes.append("Normalisation is diffusers', which is not how every version was trained.")
    plan = settled.views or settled.windows
    done = "attended" if settled.views else "were denoised"
    if plan.length < settled.num_frames:
        known = f"The motion module has positions for {family.position_rows} frames, so the "
        notes.append(
            f"{known if family.position_rows < settled.num_frames else 'The '}"
            f"{settled.num_frames} frames {done} in {len(plan.at(0))} windows of "
            f"{plan.length} frames that overlap by {plan.overlap} or more."
        )
        notes.extend(
            f"From step {first + 1} on, they {done} in {len(later.at(first))} {later.schedule} windows "
            f"of {later.length} frames that overlap by {later.overlap} or more."
            for first, later in plan.later
            if first < settled.steps
        )
    elif family.num_frames < settled.num_frames:
        notes.append(
            f"The motion module was trained on clips of {family.num_frames} frames, "
            f"and {settled.num_frames} were drawn."
        )
    if family.companion and not settled.styles:
        notes.append(
            f"{family.title} was trained with a LoRA of its own; without it pictures are "
            f"blurred: add --lora {family.companion}."
        )
    return notes
