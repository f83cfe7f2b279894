"""Options of guidance, which pulls each step towards the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from animatediff.errors import InputError
from animatediff.options.declaration import Option

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

STRAIGHT = ("ddim", "euler", "euler-karras", "euler-trailing")
"""Samplers whose steps are straight lines, as CFG++ needs them."""
MAX_GUIDANCE = 100.0
MAX_GUIDANCE_FROM = 1000
MAX_MOTION_GUIDANCE = 1.0
GuidanceMethodName = Literal["plain", "cfg++", "dynamic"]
FreeUName = Literal["off", "v1", "v2"]

Guidance = Annotated[
    float | None,
    Option(
        "Guidance scale: how strongly the prompt pulls (arXiv 2207.12598). 1 turns guidance off.",
        group="Sampling",
        foreign=("cfg", "cfg-scale", "guidance-scale", "scale", "unconditional-guidance-scale"),
        least=0,
        most=MAX_GUIDANCE,
        unset="the motion module's; 0.6 with cfg++",
    ),
]
GuidanceFrom = Annotated[
    float,
    Option(
        "The timestep, of 1,000, down to which guidance is applied; below it a step predicts one "
        "clip instead of two (arXiv 2404.07724). At 400 this saves a fifth of the predictions.",
        group="Sampling",
        metavar="T",
        least=0,
        most=MAX_GUIDANCE_FROM,
    ),
]
GuidanceMethod = Annotated[
    GuidanceMethodName,
    Option(
        "How guidance combines the two predictions: plain; cfg++ (arXiv 2406.08070), with a scale from "
        "0 to 1 and the samplers ddim or euler; or dynamic (Automatic CFG), with a scale for each "
        "frame and channel by its contrast.",
        group="Sampling",
        metavar="NAME",
        foreign=("cfgpp", "auto-cfg", "automatic-cfg", "dynamic-thresholding"),
    ),
]
GuidanceRescale = Annotated[
    float,
    Option(
        "Share of the guided prediction that is rescaled to the contrast of the unguided one "
        "(arXiv 2305.08891). Use about 0.7 if a large guidance scale overexposes.",
        group="Sampling",
        foreign=("cfg-rescale", "rescale-cfg"),
        least=0,
        most=1,
    ),
]
PerturbedAttention = Annotated[
    float,
    Option(
        "Scale of perturbed-attention guidance (arXiv 2403.17377), beside guidance: clearer "
        "shapes, for half as much time again. 3 is usual, 0 turns it off.",
        group="Sampling",
        name="pag",
        foreign=("pag-scale", "perturbed-attention-guidance"),
        least=0,
        most=MAX_GUIDANCE,
    ),
]
FreeU = Annotated[
    FreeUName,
    Option(
        "FreeU (arXiv 2309.11497): stronger backbone and weaker skip features in the decoder, by "
        "the authors' factors. v2 is their later form.",
        group="Sampling",
        metavar="NAME",
        foreign=("freeu",),
    ),
]
MotionGuidance = Annotated[
    float | None,
    Option(
        "How strongly guidance pulls towards the motion of MotionLoRAs, as a share of the "
        "guidance towards the prompt.",
        group="Motion",
        least=0,
        most=MAX_MOTION_GUIDANCE,
        unset="as their files say",
    ),
]


def check_guidance_method(request: AnimationRequest) -> None:
    """Check what goes with a method of guidance.

    Raises:
        InputError: something does not.
    """
    method = request.guidance_method
    if method == "cfg++" and request.guidance is not None and request.guidance > 1:
        raise InputError(
            f"With cfg++ the guidance scale is 0 to 1, not {request.guidance:g}; use 0.6, which is "
            "about as strong as 7.5 without cfg++."
        )
    if method == "cfg++" and request.scheduler not in (None, *STRAIGHT):
        raise InputError(
            f"cfg++ is defined for samplers of straight steps, not for {request.scheduler}; use "
            f"--scheduler {' or '.join(STRAIGHT[:2])}."
        )
    if method == "cfg++" and request.guidance_rescale:
        raise InputError(
            "--guidance-rescale restores the contrast that large scales of plain guidance raise; "
            "leave it out with cfg++."
        )
    if method != "plain" and request.perturbed_attention:
        raise InputError(
            f"Perturbed-attention guidance (--pag) is defined beside plain guidance, not beside "
            f"{method}; leave one of them out."
        )
