"""What an animator is made of, read from files: each is checked against every other before any is.

Sec. 4.4 of Guo et al., arXiv 2307.04725: a personalised image model, and motion modules that were
trained once, and never with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.runtime import Runtime
from animatediff.sampling.learned_words import named_in_folders, read_named
from animatediff.sampling.memory import memory_named
from animatediff.sampling.request import AnimationRequest, parse_adapter, parse_lora
from animatediff.weights.adapters import (
    LoadedLowRank,
    fill_low_rank,
    graft_adapter,
    graft_motion_lora,
    read_adapter,
    read_motion_lora,
    resolve_low_rank,
)
from animatediff.weights.builtin import resolve, resolve_lora, resolve_model, resolve_motion
from animatediff.weights.families import Betas, Family, Numerics
from animatediff.weights.image_model.base_model import BaseModel, plan_base_model
from animatediff.weights.lora import Style, fit_lora, read_lora
from animatediff.weights.motion import AUTO, fill_motion, inflate, read_motion
from animatediff.weights.storage.read_ahead import first_read, read_ahead
from animatediff.weights.textual_inversion import Word, add_words, read_embedding

IMAGE_FAMILY = Family(name="image")
"""What an image model by itself goes by, when no motion module decides."""


@dataclass(frozen=True)
class Loaded:
    """What an animator was loaded for; LoRAs, and every scale, may differ from request to request."""

    model: str
    motion: str
    vae: str
    embeddings: tuple[str, ...]
    adapter: str
    motion_loras: tuple[str, ...]
    family: str
    numerics: Numerics
    typed: tuple[str, ...] = field(default=(), compare=False)
    """Those of the embeddings that no option names: prompts do, and they are in the folders."""

    @classmethod
    def of(cls, request: AnimationRequest) -> Loaded:
        """What a request needs to be loaded."""
        own = {Path(name).stem.lower() for name in request.embeddings}
        texts = (request.prompt, request.negative_prompt, *request.prompts.values())
        typed = tuple(name for name in named_in_folders(texts) if name.lower() not in own)
        return cls(
            model=request.model,
            motion=request.motion,
            vae=request.vae,
            embeddings=(*request.embeddings, *typed),
            typed=typed,
            adapter=parse_adapter(request.adapter)[0],
            motion_loras=tuple(name for name, _ in map(parse_lora, request.motion_loras)),
            family=request.family,
            numerics=request.numerics,
        )

    def __str__(self) -> str:
        vae = f", autoencoder {self.vae}" if self.vae else ""
        words = f", embeddings {' and '.join(self.embeddings)}" if self.embeddings else ""
        adapter = f", domain adapter {self.adapter}" if self.adapter else ""
        patterns = f", MotionLoRA {' and '.join(self.motion_loras)}" if self.motion_loras else ""
        as_what = f" as {self.family}" if self.family != AUTO else ""
        numerics = f", {self.numerics} numerics" if self.numerics != "faithful" else ""
        details = f"{as_what}{vae}{words}{adapter}{patterns}{numerics}"
        return f"model {self.model}, motion {self.motion}{details}"


@dataclass(frozen=True)
class Parts:
    """Everything that was read for one animator, as ``Animator`` describes it."""

    base: BaseModel
    animated: AnimatedUNet
    loras: dict[Path, Style]
    family: Family
    loaded: Loaded
    files: dict[str, Path]
    adapter: LoadedLowRank | None
    motion_loras: tuple[LoadedLowRank, ...]
    notes: tuple[str, ...]
    words: tuple[Word, ...]


def load_parts(
    loaded: Loaded,
    *,
    loras: Sequence[str],
    runtime: Runtime,
) -> Parts:
    """Read what ``loaded`` names.

    Args:
        loaded: which model, which motion, and what is added to them.
        loras: styles, each ``name-or-file:scale``, to read now and not at the first request.
        runtime: where to run.

    Raises:
        InputError: a name, a device or a precision is unknown.
        FileError: a file is broken, or is not what was asked for.
        MemoryLimitError: the model does not fit.
    """
    runtime.apply()
    device, dtype = runtime.torch_device(), runtime.torch_dtype()
    motion_path = resolve_motion(loaded.motion)
    lora_files = [read_lora(resolve_lora(name)) for name, _ in map(parse_lora, loras)]
    patterns = [resolve_low_rank(name, kind="motion-lora") for name in loaded.motion_loras]
    adapter_file = (
        read_adapter(resolve_low_rank(loaded.adapter, kind="adapter")) if loaded.adapter else None
    )
    pattern_files = [read_motion_lora(path) for path in patterns]
    word_files = [
        read_embedding(resolve("embedding", name))
        for name in loaded.embeddings
        if name not in loaded.typed
    ]
    model = resolve_model(loaded.model)
    vae = resolve("vae", loaded.vae) if loaded.vae else None
    # To build a network imports libraries for seconds, in which the disk would have nothing to do.
    read_ahead(first_read(model, motion_path))
    plan = plan_base_model(model, vae=vae)
    module = (
        read_motion(motion_path, family=loaded.family, numerics=loaded.numerics)
        if motion_path is not None
        else None
    )
    if module is None and pattern_files:
        raise InputError("A MotionLoRA changes a motion module, and the motion is none.")
    if module is not None:
        animated = inflate(plan.unet, module)
    else:
        animated = AnimatedUNet(plan.unet, heads=1)
        animated.remove()
    styles = [fit_lora(lora, plan.networks) for lora in lora_files]
    low_rank = [graft_motion_lora(animated, file, scale=0.0) for file in pattern_files]
    absorbed = (
        graft_adapter(plan.unet, adapter_file, scale=0.0) if adapter_file is not None else None
    )
    with memory_named("Loading the model"):
        base = plan.load(dtype=dtype, device=device)
        if module is not None:
            fill_motion(animated, module, dtype=dtype, device=device)
        typed, word_notes = read_named(loaded.typed, base=base)
        word_files += [file for file in typed if file.name not in {f.name for f in word_files}]
        words = add_words(base, word_files)
        read = {style.lora.header.path: style.load(device=device) for style in styles}
        for branches_of in (*low_rank, *([absorbed] if absorbed is not None else ())):
            fill_low_rank(branches_of, dtype=dtype, device=device)
    files = dict(base.files)
    if motion_path is not None:
        files["motion"] = motion_path
    files |= {f"motion-lora:{path.stem}": path for path in patterns}
    files |= {f"embedding:{file.header.path.stem}": file.header.path for file in word_files}
    if adapter_file is not None:
        files["adapter"] = adapter_file.header.path
    return Parts(
        base=base,
        animated=animated,
        loras=read,
        family=module.family if module is not None else _image_family(base),
        loaded=loaded,
        files=files,
        adapter=absorbed,
        motion_loras=tuple(low_rank),
        words=words,
        notes=(
            *base.notes,
            *(module.notes if module is not None else ()),
            *(note for added in (*low_rank, absorbed) if added is not None for note in added.notes),
            *(note for file in word_files for note in file.notes),
            *word_notes,
        ),
    )


def _image_family(base: BaseModel) -> Family:
    """Without a motion module, the image model's own noise and guidance count."""
    config: Any = base.scheduler_config
    betas = Betas(
        schedule=config.get("beta_schedule", "scaled_linear"),
        start=float(config.get("beta_start", 0.00085)),
        end=float(config.get("beta_end", 0.012)),
    )
    guidance = float(config.get("_guidance", IMAGE_FAMILY.guidance))
    return replace(IMAGE_FAMILY, betas=betas, guidance=guidance)
