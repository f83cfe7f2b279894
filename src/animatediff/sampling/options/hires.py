"""Options of the hires pass: a second drawing at a larger size."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.errors import InputError
from animatediff.options.declaration import Option
from animatediff.sampling.options.output import MAX_SIZE

HiresBy = Literal["pixels", "latent"]
MAX_HIRES = 4.0

Hires = Annotated[
    float,
    Option(
        "Draw a second time at N times the size, beginning from the enlarged animation. 1 is without.",
        group="Hires pass",
        foreign=("hires-fix", "hr-scale", "enable-hr", "hires-upscale", "highres-fix"),
        least=1,
        most=MAX_HIRES,
    ),
]
HiresStrength = Annotated[
    float,
    Option(
        "Share of the denoising steps that the second pass takes: how much it may change.",
        group="Hires pass",
        foreign=("hr-strength", "hires-denoising-strength", "hires-denoise"),
        least=0.05,
        most=1,
    ),
]
HiresMethod = Annotated[
    HiresBy,
    Option(
        "How the animation is enlarged before the second pass: as pixels (by the network of "
        "--upscaler, if one is named, else bicubic), or as latents, which needs a strength of 0.5 or "
        "more.",
        group="Hires pass",
        metavar="NAME",
        foreign=("hr-upscaler",),
    ),
]


def check_hires(factor: float, *, width: int, height: int, others: bool) -> None:
    """Raise if a second pass cannot be drawn.

    Args:
        factor: how many times larger.
        width: of the first pass.
        height: of the first pass.
        others: whether the request begins from a picture, for which there is one size only.

    Raises:
        InputError: it cannot.
    """
    if factor == 1:
        return
    if others:
        raise InputError(
            "--hires enlarges what was drawn from the prompt, and --image fixes the size of what is "
            "drawn; leave one of them out, or use --upscale."
        )
    if max(width, height) * factor > MAX_SIZE:
        raise InputError(
            f"A second pass at {factor:g} times {width}x{height} would be larger than {MAX_SIZE} "
            "pixels along a side; use a smaller --hires, or --upscale."
        )
