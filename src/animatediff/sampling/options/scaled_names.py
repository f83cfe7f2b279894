"""Parse ``NAME:SCALE`` of LoRAs, domain adapters and control networks."""

from __future__ import annotations

import re

from animatediff.errors import InputError
from animatediff.options.checks import check_number
from animatediff.sampling.options.scale import Scale

MAX_LORA_SCALE = 100.0


def parse_lora(spec: str, *, what: str = "LoRA") -> tuple[str, Scale]:
    """Parse ``noto:0.8`` to a name or path and a scale, which defaults to 1.

    Raises:
        InputError: the name is empty, or the scale is not a finite number in range; ``what`` names the
            kind of file in the sentence.
    """
    match = re.fullmatch(r"(.*):\s*([^:/\\]*)", spec, flags=re.DOTALL)
    name, text = match.groups() if match else (spec, "1")
    if "(" in text:
        scale = Scale.parse(text)
    else:
        try:
            scale = Scale.of(float(text))
        except (ValueError, InputError):
            raise InputError(
                f"The scale of the {what} {spec!r:.80} is not a finite number; write, for example, "
                "noto:0.8."
            ) from None
    if not name.strip():
        raise InputError(f"The {what} {spec!r:.80} has no name; write, for example, noto:0.8.")
    for value in scale.least_and_most:
        check_number(
            f"The scale of the {what} {name!r:.80}",
            value,
            least=-MAX_LORA_SCALE,
            most=MAX_LORA_SCALE,
        )
    return name, scale


def parse_adapter(spec: str) -> tuple[str, Scale]:
    """Parse the file and alpha of a domain adapter; no file if the text is empty.

    Raises:
        InputError: the alpha is out of range.
    """
    return parse_lora(spec, what="domain adapter") if spec else ("", Scale.of(0))
