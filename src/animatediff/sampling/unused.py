"""Notes on options that were given and change nothing, as what they act on is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import Settled


@dataclass(frozen=True)
class _Belonging:
    """Options that only act on something.

    Attributes:
        fields: the options.
        to: what they act on, in words for the user.
        is_there: whether an animation has it.
    """

    fields: tuple[str, ...]
    to: str
    is_there: Callable[[Settled], object]


_BELONGINGS = (
    _Belonging(
        ("interpolation", "hold"),
        "--keyframe",
        lambda s: s.request.prompts or s.request.negative_prompts,
    ),
    _Belonging(("region_soft",), "--region", lambda s: s.request.regions),
    _Belonging(("hires_strength", "hires_by"), "--hires", lambda s: s.request.hires != 1),
    _Belonging(("init_fit",), "--init", lambda s: s.request.init),
    _Belonging(
        ("sparse_hinted", "sparse_others", "sparse_motion", "sparse_nearest", "sparse_latents"),
        "--control or --sparse",
        lambda s: s.request.controls or s.request.sparse,
    ),
    _Belonging(("ip_between",), "--ip-image", lambda s: s.request.ip_images),
    _Belonging(("object_until",), "--object-path", lambda s: s.request.object_paths),
    _Belonging(
        ("negative_prompt", "guidance_rescale"),
        "a guidance scale other than 1",
        lambda s: s.is_guided,
    ),
    _Belonging(
        ("window_changes",),
        "a step after the first, and there is none so late",
        lambda s: any(step < s.steps for step, _ in (s.views or s.windows).later),
    ),
    _Belonging(
        ("window_stride",),
        "a clip that is longer than a window",
        lambda s: (s.views or s.windows).length < s.num_frames,
    ),
)


def notes_on_unused(settled: Settled) -> list[str]:
    """Return a sentence for each group of options that were given and change nothing."""
    rows = {row.field: row for row in declared(AnimationRequest)}
    found: list[str] = []
    for each in _BELONGINGS:
        if each.is_there(settled):
            continue
        given = [
            rows[field].flag
            for field in each.fields
            if getattr(settled.request, field) != rows[field].default
        ]
        if given:
            verb, they = ("changes", "it acts") if len(given) == 1 else ("change", "they act")
            found.append(f"{' and '.join(given)} {verb} nothing here: {they} on {each.to}.")
    return found
