"""Names of samplers as people type them in other programs, and the names that they have here."""

from __future__ import annotations

import re
from typing import Literal, get_args

from animatediff.errors import InputError

SchedulerName = Literal[
    "ddim",
    "ddpm",
    "euler",
    "euler-karras",
    "euler-trailing",
    "euler-a",
    "euler-a-trailing",
    "heun",
    "heun-karras",
    "lms",
    "lms-karras",
    "dpm2",
    "dpm2-karras",
    "dpm2-a",
    "dpm2-a-karras",
    "dpm++2m",
    "dpm++2m-karras",
    "dpm++2m-exponential",
    "dpm++2m-trailing",
    "dpm++2m-sde",
    "dpm++2m-sde-karras",
    "dpm++2m-sde-exponential",
    "dpm++2m-sde-trailing",
    "dpm++3m-sde",
    "dpm++3m-sde-karras",
    "dpm++3m-sde-exponential",
    "dpm++sde",
    "dpm++sde-karras",
    "unipc",
    "lcm",
]
SCHEDULER_NAMES: tuple[str, ...] = get_args(SchedulerName)

_SAME = (
    # What other programs write for the same thing, in their order of use.
    ("dpmpp", "dpm++"),
    ("dpmsolver++", "dpm++2m"),
    ("ancestral", "a"),
    ("unipcbh2", "unipc"),
    ("sgmuniform", "trailing"),
    ("dpm++sde2m", "dpm++2msde"),
)
_PREFIX, _SUFFIX = (
    r"^k(?=euler|heun|lms|dpm)",
    r"(gpu|automatic|normal|uniform|scheduler|discrete)$",
)

_REFUSED = {
    "plms": "PLMS is not supported; dpm++2m is its successor",
    "pndm": "PNDM is not supported; dpm++2m is its successor",
    "dpmfast": "DPM fast is not supported; dpm++2m needs as few steps",
    "dpmadaptive": (
        "DPM adaptive chooses its own number of steps, which no schedule here can follow; "
        "use dpm++2m-karras"
    ),
    "dpm++2sa": "DPM++ 2S a is not supported; dpm++sde is the nearest, with fresh noise as well",
    "dpm++2sakarras": (
        "DPM++ 2S a Karras is not supported; dpm++sde-karras is the nearest, with fresh noise as well"
    ),
    "restart": "Restart is not supported; use heun or dpm++2m-karras",
    "heunpp2": "Heun++ is not supported; use heun",
    "heun++": "Heun++ is not supported; use heun",
    "tcd": "TCD is not supported; use lcm",
    "ipndm": "iPNDM is not supported; use lms or unipc",
    "deis": "DEIS is not supported; unipc needs as few steps",
    "ddimcfg++": "DDIM CFG++ is --scheduler ddim with --guidance-method cfg++",
    "eulercfgpp": "Euler CFG++ is --scheduler euler with --guidance-method cfg++",
    "eulercfg++": "Euler CFG++ is --scheduler euler with --guidance-method cfg++",
}


def scheduler_named(text: str) -> str:
    """The name of a sampler here, for a name such as ``DPM++ 2M Karras`` or ``k_euler_ancestral``.

    A name that nothing is known of is returned as it is.

    Raises:
        InputError: it names a sampler that is not supported; the sentence names the nearest.
    """
    if text in SCHEDULER_NAMES:
        return text
    plain = _plain(text)
    for theirs, ours in _SAME:
        plain = plain.replace(theirs, ours)
    plain = re.sub(_SUFFIX, "", re.sub(_PREFIX, "", plain))
    if plain in _REFUSED:
        raise InputError(f"{_REFUSED[plain]}.")
    return {_plain(name): name for name in SCHEDULER_NAMES}.get(plain, text)


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.lower())
