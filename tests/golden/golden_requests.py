"""The golden requests: small animations that between them use every part of sampling.

Files of the published kinds are made up at reduced width from fixed seeds, so that every version is
animated without a download.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.weights import synthetic
from tests.weights.synthetic.tokenizer import write_tokenizer

from animatediff.sampling.request import AnimationRequest

FILES = {
    "v1": "motion-v1",
    "v2": "motion-v2",
    "v3": "motion-v3",
    "sdxl-beta": "motion-sdxl",
    "lcm": "motion-lcm",
    "hotshot-xl": "motion-hotshot",
    "lora": "lora-sd15",
    "loha": "loha",
    "adapter": "domain-adapter",
    "motion-lora": "motion-lora-v2",
}


def write_files(folder: Path) -> dict[str, Path]:
    """Write the image models, motion modules and low-rank files that the requests name."""
    files = {name: folder / f"{name}.safetensors" for name in FILES}
    for name, path in files.items():
        synthetic.write(path, FILES[name])
    for base in ("sd15", "sdxl"):
        model = files[base] = synthetic.write_folder(folder / base, base)
        for config in model.glob("text_encoder*/config.json"):
            _change(config, model_type="clip_text_model")
        write_tokenizer(model / "tokenizer")
    write_tokenizer(model / "tokenizer_2")
    _change(model / "tokenizer_2" / "tokenizer_config.json", pad_token="!")
    return files


def _change(path: Path, **values: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def golden_requests(files: Mapping[str, Path]) -> dict[str, AnimationRequest]:
    """The requests by name; those that need the same files follow one another.

    Args:
        files: what ``write_files`` returned.
    """
    carried = AnimationRequest(
        "a fox", num_frames=4, width=64, height=64, steps=3, seed=7, precision="fp32"
    )
    builtin = replace(carried, carry=0.0)  # frames as the motion module draws them
    sd15 = replace(
        builtin, model=str(files["sd15"]), negative_prompt="an ox", num_frames=3, steps=2
    )
    sdxl = replace(sd15, model=str(files["sdxl"]))
    v1, v2, v3, lcm = (replace(sd15, motion=str(files[name])) for name in ("v1", "v2", "v3", "lcm"))
    xl_beta, hotshot = (
        replace(sdxl, motion=str(files[name])) for name in ("sdxl-beta", "hotshot-xl")
    )
    keyframes = {"0": "running", "50%": "sleeping", "3": "jumping"}
    return {
        "builtin": builtin,
        "builtin-lora": replace(builtin, loras=("noto:0.8",)),
        "builtin-edits": replace(
            builtin, prompt="a [red:blue:1] (fox:1.3)", negative_prompt="an [ox|owl]"
        ),
        "builtin-travel": replace(
            builtin, prompts=keyframes, interpolation="slerp", closed_loop=True, hold=0.25
        ),
        "builtin-travel-and-edits": replace(
            builtin, prompts={"0": "a [fox:hare:2]", "3": "an owl"}, negative_prompt="[an ox:0.5]"
        ),
        "builtin-free-init": replace(builtin, free_init=2, steps=2),
        "builtin-guidance-from": replace(builtin, guidance_from=400),
        "builtin-without-guidance": replace(builtin, guidance=1.0, scheduler="euler-a"),
        "builtin-stills": replace(builtin, motion="none", scheduler="dpm++2m-karras"),
        "builtin-adapter": replace(builtin, adapter="emoji:0.5"),
        "builtin-motion-loras": replace(
            builtin, motion_loras=("zoom-in:0.7", "pan-left:0.4"), motion_guidance=0.0
        ),
        "builtin-motion-guidance": replace(
            builtin, motion_loras=("zoom-in:0.7", "pan-left:0.4"), motion_guidance=0.6
        ),
        "builtin-bf16": replace(builtin, precision="bf16"),
        "builtin-carried": carried,
        "builtin-action": replace(carried, prompt="a fox bouncing", from_still=0.7),
        "v1": v1,
        "v2-motion-lora": replace(v2, motion_loras=(f"{files['motion-lora']}:0.8",)),
        "v2-motion-guidance": replace(
            v2,
            motion_loras=(f"{files['motion-lora']}:0.8",),
            motion_guidance=1.0,
            guidance_from=100,
        ),
        "v3-everything": replace(
            v3,
            loras=(f"{files['lora']}:0.6", f"{files['loha']}:0.4"),
            adapter=f"{files['adapter']}:0.5",
            prompts={"0": "running", "2": "sleeping"},
            free_init=2,
        ),
        "v3-diffusers-numerics": replace(v3, numerics="diffusers", scheduler="unipc"),
        "animatelcm": replace(lcm, family="animatelcm", steps=4),
        "sdxl-beta": xl_beta,
        "sdxl-beta-travel": replace(xl_beta, prompts={"0": "running", "2": "sleeping"}),
        "hotshot-xl": hotshot,
    }
