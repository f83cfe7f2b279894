"""Every row of the recipe: it learns its part, and whatever else it holds or reads stays as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.stages.stage_options import StageOptions
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
WRITES = {
    "text-encoder": ("world/emoji/text_encoder",),
    "autoencoder": ("world/emoji/vae", "world/emoji/scheduler", "world/emoji/model_index.json"),
    "decoder": ("world/emoji/vae",),
    "image": ("world/emoji/unet",),
    "upscaler": ("world/upscaler/emoji.safetensors",),
    "image-longer": ("world/emoji/unet", "world/emoji/text_encoder"),
    "motion": ("world/motion/emoji.safetensors",),
    "motion-longer": ("world/motion/emoji.safetensors",),
    "motion-convolution": ("world/motion/emoji-conv.safetensors",),
    "noto-lora": ("world/lora/noto.safetensors",),
    "noto-full": ("world/emoji-noto/unet",),
    "domain-adapter": ("world/adapter/emoji.safetensors",),
    "motion-lora": ("world/motion-lora/clips.safetensors",),
    "personalise-lora": ("world/lora/personal.safetensors",),
    "personalise-dreambooth": ("world/personal",),
    "personalise-inversion": ("world/embedding/mine.safetensors",),
    "control": ("world/control/edges.safetensors",),
    "sparse-control": ("world/control/pictures.safetensors",),
}
"""What each row may change in a world folder, and nothing else."""
PREPARES = {
    "text-encoder": (
        "taught.safetensors",
        "world/emoji/tokenizer",
        "world/emoji/scheduler",
        "world/emoji/model_index.json",
    ),
    "control": ("hints-canny-stills.safetensors", "hints-canny-clips.safetensors"),
}
"""What is made before the first step: a tokenizer, what a teacher said, and hints."""
STAY = {
    "decoder": ("vae/diffusion_pytorch_model.safetensors", r"(encoder|quant_conv)\."),
    "image-longer": ("text_encoder/model.safetensors", r".*\.token_embedding\."),
}
"""Of the files that are replaced, the tensors that must not change."""


def seal(value: Tensor | Path) -> str:
    content = (
        value.read_bytes()
        if isinstance(value, Path)
        else value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    )
    return hashlib.sha256(content).hexdigest()


def files_of(work: Path) -> dict[str, str]:
    return {str(p.relative_to(work)): seal(p) for p in sorted(work.rglob("*")) if p.is_file()}


def tensors_in(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that can be reached: through modules, containers, our own objects and closures."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    inner: dict[str, Any] = {}
    if isinstance(thing, Tensor):
        yield path, thing
    elif isinstance(thing, np.ndarray):
        yield path, torch.from_numpy(thing)
    elif isinstance(thing, nn.Module):
        inner = dict(thing.named_parameters()) | dict(thing.named_buffers())
        inner |= {f"module {n}": m for n, m in thing.__dict__.get("_modules", {}).items()}
    elif isinstance(thing, dict):
        inner = {str(k): v for k, v in thing.items()}
    elif isinstance(thing, list | tuple):
        inner = {str(i): v for i, v in enumerate(thing)}
    elif isinstance(thing, FunctionType):
        inner = {str(i): cell.cell_contents for i, cell in enumerate(thing.__closure__ or ())}
    elif isinstance(thing, MethodType):
        inner = {"self": thing.__self__}
    elif is_dataclass(thing) or type(thing).__module__.startswith("animatediff"):
        inner = vars(thing) if hasattr(thing, "__dict__") else {}
    for name, value in inner.items():
        yield from tensors_in(value, f"{path}.{name}", seen)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def test_every_row_says_here_what_it_writes() -> None:
    assert WRITES.keys() == STAGES.keys()


@pytest.mark.parametrize("name", STAGES)
def test_a_row_learns_its_part_and_everything_else_it_holds_or_reads_stays(
    name: str,
    small_setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    setup = small_setup_of(name, tmp_path / "work")
    options = replace(options_of(name), steps=2)
    before = files_of(setup.work)
    old = {file: load_file(setup.work / "world" / "emoji" / file) for file, _ in STAY.values()}
    prepared = STAGES[name].prepare(setup, options, CPU)
    ready = files_of(setup.work)
    assert all(within(file, PREPARES.get(name, ())) for file in changed(before, ready))

    if prepared.frozen is not None:
        assert prepared.frozen.base.vae is not None  # what waits for its first use is read now
    lesson = prepared.lesson
    learns = {id(p): n for n, p in lesson.learns.named_parameters() if p.requires_grad}
    held = dict(tensors_in(prepared, "", set()))
    assert {id(t) for t in held.values()} >= learns.keys()
    frozen = {path: seal(t) for path, t in held.items() if id(t) not in learns}
    began = {path: seal(t) for path, t in held.items() if id(t) in learns}
    learned = train(lesson, options, tmp_path / "run", facts=prepared.facts)

    assert len(frozen) > 0
    assert {path: seal(held[path]) for path in frozen} == frozen
    assert any(seal(held[path]) != seal_ for path, seal_ in began.items())
    assert learned.keys() == set(learns.values())
    assert files_of(setup.work) == ready

    prepared.save(learned)
    written = changed(ready, files_of(setup.work))
    assert written
    assert all(within(file, WRITES[name]) for file in written)
    if name in STAY:
        file, names = STAY[name]
        new = load_file(setup.work / "world" / "emoji" / file)
        stays = [k for k in new if re.match(names, k)]
        assert stays
        assert all(torch.equal(old[file][k], new[k]) for k in stays)
        assert any(not torch.equal(old[file][k], new[k]) for k in new)


def test_a_stage_of_the_world_alone_names_what_it_would_ignore(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not take --data, --frames, as .* leave them out\."):
        STAGES["image"].options(tmp_path, {"data": tmp_path, "frames": 4})


def test_every_stage_says_which_module_it_trains(
    small_setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    for name in ("autoencoder", "image", "motion", "motion-convolution", "motion-lora"):
        setup = small_setup_of(name, tmp_path / name)
        learns = STAGES[name].prepare(setup, options_of(name), CPU).lesson.learns
        assert any(isinstance(module, STAGES[name].learns) for module in learns.modules())


def test_what_is_to_go_on_longer_must_be_there(
    small_setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    setup = small_setup_of("motion-longer", tmp_path / "work")
    (setup.work / "world" / "motion" / "emoji.safetensors").unlink()
    with pytest.raises(FileError, match="run the stage motion first"):
        STAGES["motion-longer"].prepare(setup, options_of("motion-longer"), CPU)
