"""Configurations of the AnimateDiff authors' demo (YAML), read as requests.

Both forms are read: a list of entries, and the older table of entries by name. Each entry has a model
and several prompts, with a negative prompt and a seed for each.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from animatediff.config import nearest
from animatediff.errors import FileError, InputError, reason_of
from animatediff.sampling.request import AnimationRequest

SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1 << 20

_PLAIN = {
    "steps": "steps",
    "guidance_scale": "guidance",
    "W": "width",
    "H": "height",
    "L": "num_frames",
}
_WITHOUT_USE = ("inference_config", "pretrained_model_path", "name")
"""The family of a motion module is read from its file, and the image model's parts come with it."""
_OTHERS = (
    "prompt",
    "n_prompt",
    "seed",
    "motion_module",
    "motion_module_lora_configs",
    "dreambooth_path",
    "path",
    "base",
    "lora_model_path",
    "lora_alpha",
    "adapter_lora_path",
    "adapter_lora_scale",
)


def is_authors_config(path: Path) -> bool:
    """Whether a file is to be read as a configuration of the authors' demo, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def read_authors_config(path: Path) -> list[AnimationRequest]:
    """The requests of a configuration, one for each prompt.

    Raises:
        FileError: the file cannot be read, or is not YAML.
        InputError: it has no entry, an unknown key, or a value that cannot be used.
    """
    return [
        request
        for number, entry in enumerate(_entries(path), start=1)
        for request in _requests(entry, source=f"{path}, entry {number},")
    ]


def _entries(path: Path) -> list[Mapping[str, Any]]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FileError(f"{path} has {size} bytes, and a configuration has at most 1 MiB.")
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (ValueError, RecursionError, yaml.YAMLError):
        raise FileError(f"{path} cannot be read as YAML; correct it.") from None
    if isinstance(content, dict):
        content = [content] if "prompt" in content else list(content.values())
    if (
        not isinstance(content, list)
        or not content
        or not all(isinstance(e, dict) for e in content)
    ):
        raise InputError(
            f"{path} is not a configuration of the authors' demo: it has no entry with prompt, "
            "n_prompt, motion_module and so on."
        )
    return content


def _requests(entry: Mapping[str, Any], *, source: str) -> list[AnimationRequest]:
    _check_keys(entry, source)
    fields: dict[str, Any] = {ours: entry[name] for name, ours in _PLAIN.items() if name in entry}
    fields |= _files(entry, source)
    prompts = _listed(entry.get("prompt"))
    if not prompts:
        raise InputError(f"{source} has no prompt; write one under prompt.")
    negatives = _listed(entry.get("n_prompt"))
    seeds = _listed(entry.get("seed"))
    requests: list[AnimationRequest] = []
    for number, prompt in enumerate(prompts):
        own = dict(fields)
        if negatives:
            own["negative_prompt"] = negatives[min(number, len(negatives) - 1)]
        if seeds:
            seed = seeds[min(number, len(seeds) - 1)]
            own["seed"] = secrets.randbits(32) if seed == -1 else seed
        requests.append(AnimationRequest(prompt, **own))
    return requests


def _files(entry: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields that name files."""
    base, path = entry.get("base") or "", entry.get("path") or ""
    model = entry.get("dreambooth_path") or base or path
    lora = entry.get("lora_model_path") or (path if base else "")
    motions = _listed(entry.get("motion_module"))
    if len(motions) > 1:
        raise InputError(f"{source} names several motion modules; keep one.")
    patterns = _listed(entry.get("motion_module_lora_configs"))
    if not all(isinstance(pattern, dict) and "path" in pattern for pattern in patterns):
        raise InputError(
            f"{source} has a MotionLoRA without a path; write path and alpha for each."
        )
    adapter = entry.get("adapter_lora_path")
    fields = {
        "model": model,
        "motion": motions[0] if motions else "",
        "loras": (f"{lora}:{entry.get('lora_alpha', 0.8)}",) if lora else (),
        "adapter": f"{adapter}:{entry.get('adapter_lora_scale', 1.0)}" if adapter else "",
        "motion_loras": tuple(f"{each['path']}:{each.get('alpha', 1.0)}" for each in patterns),
    }
    return {name: value for name, value in fields.items() if value}


def _check_keys(entry: Mapping[str, Any], source: str) -> None:
    known = [*_PLAIN, *_OTHERS, *_WITHOUT_USE]
    for key, value in entry.items():
        if key in known or value in (None, "", []):
            continue
        if str(key).startswith("controlnet"):
            raise InputError(
                f"{source} has {key}, which is not read here; remove it, and give the network with "
                "--control and its pictures with --sparse."
            )
        if key == "init_image":
            raise InputError(f"{source} has {key}, which is not supported yet; remove it.")
        close = nearest(str(key), known)
        remedy = f"did you mean {close}?" if close else f"known are {', '.join(known)}."
        raise InputError(f"{source} has the unknown key {key!r:.60}; {remedy}")


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list) else [value]
