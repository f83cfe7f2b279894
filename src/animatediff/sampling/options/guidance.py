"""Options of guidance, which pulls each step towards the prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option

MAX_GUIDANCE = 100.0
MAX_GUIDANCE_FROM = 1000
MAX_MOTION_GUIDANCE = 1.0
FreeUName = Literal["off", "v1", "v2"]

Guidance = Annotated[
    float | None,
    Option(
        "Guidance scale: how strongly the prompt pulls (arXiv 2207.12598). 1 turns guidance off.",
        group="Sampling",
        foreign=("cfg", "cfg-scale", "guidance-scale", "scale", "unconditional-guidance-scale"),
        common=True,
        least=0,
        most=MAX_GUIDANCE,
        unset="the motion module's",
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
