"""Options of other programs that a command has no counterpart for, each with what to do instead.

Options that have a counterpart under another name are listed with it, as ``Option.foreign``.
"""

from __future__ import annotations

from collections.abc import Mapping

_MEMORY = (
    "models run in half precision on a GPU; --memory low of animate copies weights to "
    "it a layer at a time. If that is not enough, draw fewer --frames or a smaller --size."
)
_CONTROL = "use --control FILE:SCALE for the network and --control-input PATH for what it follows."
_LOOP = (
    "GIF, WebP and APNG repeat; --loop-count says how often. --loop makes the loop seamless, and "
    "--closed-loop returns to the first keyframe of a travelling prompt."
)
_ATTENTION = "the fastest attention of torch is always used."

_RESUME = "a run resumes by itself when the same command is given again."

_TRAINING: Mapping[str, str] = {
    **dict.fromkeys(("resume", "resume-from-checkpoint", "resume-from", "resume-path"), _RESUME),
    **dict.fromkeys(("enable-xformers-memory-efficient-attention", "xformers", "sdpa"), _ATTENTION),
}  # fmt: skip
SENTENCES: Mapping[str, str] = {
    **dict.fromkeys(("medvram", "lowvram", "medvram-sdxl", "cpu-offload", "offload"), _MEMORY),
    **dict.fromkeys(("enable-model-cpu-offload", "vae-slicing"), _MEMORY),
    **dict.fromkeys(("xformers", "opt-sdp-attention", "flash-attn", "without-xformers"), _ATTENTION),
    **dict.fromkeys(("controlnet", "control-image", "controlnet-path", "controlnet-image"), _CONTROL),
    **dict.fromkeys(("loops", "looping", "seamless"), _LOOP),
    **dict.fromkeys(("n-iter", "batch-count", "num-images", "num-videos", "n-samples"), (
        "for several animations give several seeds, such as --seed 1,2,3."
    )),
    **dict.fromkeys(("eta",), "choose a sampler with --scheduler; euler-a adds noise at each step."),
}  # fmt: skip


def foreign_sentence(name: str, *, command: str) -> str:
    """What to do instead of an option without a counterpart, given without dashes; may be empty."""
    tables = {"animate": SENTENCES, "train": _TRAINING}
    return tables.get(command, {}).get(name.lower(), "")
