"""``animatediff train``: run one stage of the recipe, on the built-in world or on one's own clips.

The same command goes on with a stage that was stopped. Under ``torchrun`` or ``accelerate launch`` the
processes share its work.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from animatediff.apps.destination import check_room
from animatediff.apps.parsing import optional
from animatediff.errors import InputError

if TYPE_CHECKING:
    import torch

    from animatediff.training.lessons.lesson import TrainOptions
    from animatediff.training.stages.setup import Setup


@dataclass(frozen=True)
class Options:
    """Train one stage; a stage that was stopped goes on where it was."""

    stage: Annotated[Positional[str], arg(metavar="STAGE")]
    """Which row of the recipe; an unknown name lists them."""
    work: Annotated[Path, arg(metavar="FOLDER")] = Path("build/emoji")
    """Where runs are kept; for the built-in world, what ``animatediff dataset emoji`` made."""
    model: Annotated[str | None, optional("NAME")] = None
    """The image model, a name or a diffusers folder; left out, that of the world folder."""
    motion: Annotated[str | None, optional("NAME")] = None
    """The motion modules to build on or to go on from, a name or a file."""
    adapter: Annotated[Path | None, optional("FILE")] = None
    """A domain adapter to attach, frozen, while motion is learned."""
    data: Annotated[Path | None, optional("DATA")] = None
    """Your clips: a folder of videos or pictures, each with a .txt of the same name as its caption;
    or frames, metadata.csv, .jsonl or .parquet, WebVid's CSV, JSON lines, TOML, lists, WebDataset's
    tar files; or what ``animatediff dataset build`` made of them."""
    layout: Annotated[str, arg(metavar="NAME")] = "auto"
    """How they are kept: folder, frames, metadata, webvid, jsonl, toml, lists or webdataset; auto
    tells it by what is there."""
    videos: Annotated[Path | None, optional("FOLDER", default="the table's own")] = None
    """What the names in a table are relative to."""
    max_bad: Annotated[float, arg(metavar="X")] = 0.1
    """The share of clips that may be bad; with more, nothing is learned."""
    max_seconds: Annotated[float, arg(metavar="SECONDS")] = 600.0
    """The longest clip that is read."""
    timeout: Annotated[float, arg(metavar="SECONDS")] = 120.0
    """After which a clip that is still being decoded is given up."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """What to write; left out, its place in the world folder."""
    preset: Annotated[str | None, optional("NAME")] = None
    """overfit-one-clip: the first thing to try with anything new."""
    pattern: Annotated[str | None, optional("NAME")] = None
    """A camera move to film every clip with: zoom-in, zoom-out, pan-left, pan-right, tilt-up,
    tilt-down, roll-clockwise or roll-anticlockwise; NAME:0.5 goes half as far."""
    scales: Annotated[tuple[float, ...], arg(metavar="X...")] = (1.0,)
    """For motion-lora with a pattern: scales to learn at, with a camera that goes as far as they say,
    below 0 the other way; one that is named twice comes twice as often, as in 0.5 0.5 1."""
    moving_camera: Annotated[float, arg(metavar="X")] = 0.0
    """For motion: the share of clips that a camera moves over by rule, as their captions then tell."""
    rank: Annotated[int | None, optional("N")] = None
    """Of low-rank branches."""
    layers: Annotated[Literal["attention", "all"], arg(metavar="NAME")] = "attention"
    """For motion-lora: the layers of the motion modules that have branches; attention is the paper's,
    all learn motions that hang on the place, such as a roll, in files of twice the size."""
    start: Annotated[str | None, optional("NAME")] = None
    """For motion-lora: one to go on from, a name or a file, of the same rank and layers."""
    size: Annotated[int | None, optional("N")] = None
    """Pixels of a side; left out, the model's own."""
    frames: Annotated[int, arg(metavar="N")] = 16
    """Frames of a clip."""
    fps: Annotated[float, arg(metavar="RATE")] = 8.0
    """Frames a second that are learned, whatever the files' own rate."""
    family: Annotated[str | None, optional("NAME")] = None
    """What kind fresh motion modules are of (left out, v3), or given ones whose file does not tell."""
    clips: Annotated[int | None, optional("N")] = None
    """How many clips to learn from; left out, all."""
    first_clip: Annotated[int, arg(metavar="N")] = 0
    """The number of the first of them."""
    variations: Annotated[int, arg(metavar="N")] = 0
    """Different windows of each clip, each encoded once; 0 draws ever new ones."""
    mix: Annotated[tuple[str, ...], arg(metavar="KIND:SHARE...")] = ()
    """For motion on the built-in world: kinds of clips and how often each is seen, such as clips:0.55
    stills:0.45; left out, its real clips alone."""
    degraded: bool = False
    """Give the built-in world's clips the marks of stock footage."""
    vary_appearance: bool = False
    """For domain-adapter and motion-lora: other colours and shapes in every window, the same in all of
    its frames, so that the motion of a single clip is learned and not its looks."""
    caption: Annotated[str | None, optional("TEXT")] = None
    """One caption for all, such as "a photo of sks dog"."""
    word: Annotated[str | None, optional("WORD")] = None
    """The new word of a textual inversion, such as <my-dog>."""
    like: Annotated[str | None, optional("WORD")] = None
    """A known word that the new one begins as."""
    words: Annotated[int, arg(metavar="N")] = 1
    """How many vectors the new word has."""
    class_data: Annotated[Path | None, optional("FOLDER")] = None
    """Pictures of the class in general, which DreamBooth must not forget."""
    class_caption: Annotated[str | None, optional("TEXT")] = None
    """What they show, such as "a photo of a dog"."""
    prior: Annotated[float, arg(metavar="X")] = 1.0
    """How much they count."""
    null_text: Annotated[float, arg(metavar="X")] = 0.1
    """How often captions are dropped."""
    min_snr: Annotated[float | None, optional("GAMMA")] = None
    """Weigh timesteps by min-SNR; 5 is usual."""
    noise_offset: Annotated[float, arg(metavar="X")] = 0.0
    """How much noise shifts whole clips."""
    min_timestep: Annotated[int, arg(metavar="N")] = 0
    """Learn from this timestep of 1,000 up, where noise hides details but not yet the layout: a
    camera move is decided above 500."""
    debias: Annotated[float, arg(metavar="X")] = 0.0
    """How much the loss without appearance counts; 1 to learn the motion of a single clip."""
    steps: Annotated[int | None, optional("N")] = None
    """Optimiser steps in all, instead of the recipe's."""
    batch_size: Annotated[int | None, optional("N")] = None
    """Clips in one backward pass of one process."""
    accumulate: Annotated[int | None, optional("N")] = None
    """Backward passes in one step."""
    learning_rate: Annotated[float | None, optional("X")] = None
    """After the warm-up."""
    optimizer: Annotated[Literal["adamw", "muon"] | None, optional("NAME")] = None
    """adamw, or muon, which moves every direction of a weight matrix at one pace."""
    warmup: Annotated[int | None, optional("N")] = None
    """Steps over which the rate rises."""
    schedule: Annotated[Literal["constant", "cosine"] | None, optional("NAME")] = None
    """The rate after the warm-up: constant or cosine."""
    ema_decay: Annotated[float | None, optional("X")] = None
    """Of the averaged weights, which are what is written; 0 writes the last ones."""
    precision: Annotated[Literal["fp32", "bf16"] | None, optional("NAME")] = None
    """fp32 or bf16; left out, the recipe's, or fp32 where the device does not compute in bf16."""
    seed: Annotated[int | None, optional("N")] = None
    """Of everything that is drawn."""
    save_every: Annotated[int | None, optional("N")] = None
    """Steps between checkpoints, each with validation clips."""
    log_every: Annotated[int | None, optional("N")] = None
    """Steps between lines of metrics.jsonl."""
    num_workers: Annotated[int | None, optional("N")] = None
    """Processes that read clips ahead."""
    checkpointing: bool = False
    """Recompute activations on the way back: slower, in less memory."""
    shard: bool = False
    """Share the frozen image model out among several processes: slower, in less memory."""
    tensorboard: bool = False
    """Write TensorBoard's files too."""
    validate: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="validate", metavar="PROMPT")
    ] = ()
    """Draw this at every checkpoint, at a fixed seed; may be repeated."""
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps; several processes each get their own."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""


_RECIPE = (
    "steps",
    "batch_size",
    "accumulate",
    "learning_rate",
    "optimizer",
    "warmup",
    "schedule",
    "ema_decay",
    "precision",
    "seed",
    "save_every",
    "log_every",
    "num_workers",
)


def train_stage(options: Options) -> int:
    """Train, store what was learned, and print where."""
    from animatediff.apps.train_preview import previewer
    from animatediff.runtime import Runtime
    from animatediff.training.runs.meters import board_module
    from animatediff.training.runs.report import write_report
    from animatediff.training.runs.trainer import train
    from animatediff.training.stages.table import stage_named
    from animatediff.training.steps.processes import Processes
    from animatediff.training.steps.sharding import shard_frozen

    Runtime(threads=options.threads).apply()
    if options.tensorboard:
        board_module()
    if options.shard and options.validate:
        raise InputError(
            "One process cannot draw with a model that is shared out; "
            "leave out --validate or --shard."
        )
    stage = stage_named(options.stage)
    if options.output is not None:
        check_room(options.output, option="-o")
    processes = Processes()
    several = processes.count > 1
    device = processes.device if several else Runtime(device=options.device).torch_device()
    setup, recipe = chosen(options, stage.options, device=device)
    tell = _say if processes.is_first else _hush
    tell(f"{options.stage}: {stage.learns}; {recipe.steps} steps in {recipe.precision}")
    if setup.data is not None:
        tell(f"reading {setup.data}; clips that were not seen before are decoded once, to check")
    prepared = stage.prepare(setup, recipe, device)
    if options.shard:
        shard_frozen(prepared, processes)
    for note in prepared.ground.notes if prepared.ground is not None else ():
        tell(note)
    folder = options.work / "runs" / run_name(options)
    facts = {**dataclasses.asdict(recipe), **prepared.facts}
    try:
        learned = train(
            prepared.lesson,
            recipe,
            folder,
            facts=prepared.facts,
            on_save=previewer(prepared, folder, options.validate) if options.validate else None,
            tell=tell,
            tensorboard=options.tensorboard,
        )
        if processes.is_first:
            tell(f"kept {prepared.keep(learned)}")
            title = f"{options.stage}: {stage.learns}"
            tell(f"report {write_report(folder, title=title, facts=facts)}")
            last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
            tell(json.dumps(json.loads(last)))
    finally:
        if sys.exc_info()[0] is None:
            processes.close()
    return 0


def chosen(
    options: Options, recipe: TrainOptions, *, device: torch.device
) -> tuple[Setup, TrainOptions]:
    """What the stage starts from and how it is trained, by the row, the preset and the options.

    Emulated, bf16 makes a step about nine times as long, so it is chosen only where it is not.

    Raises:
        InputError: there is no such preset, or a number is out of range.
    """
    from animatediff.runtime import computes_bf16
    from animatediff.training.stages.presets import preset_named
    from animatediff.training.stages.setup import Setup

    given: dict[str, Any] = dataclasses.asdict(options)
    names = {field.name for field in dataclasses.fields(Setup)}
    shared = {name: value for name, value in given.items() if name in names}
    own = recipe.precision if computes_bf16(device) else "fp32"
    recipe = dataclasses.replace(recipe, precision=options.precision or own)
    shared["precision"] = recipe.precision
    setup = Setup(**shared, num_frames=options.frames)
    if options.preset is not None:
        setup, recipe = preset_named(options.preset)(setup, recipe)
    told = {name: given[name] for name in _RECIPE if given[name] is not None}
    return setup, dataclasses.replace(recipe, **told)


def run_name(options: Options) -> str:
    """The name of a run's folder: of the stage, and of what it writes or films where that is told."""
    parts = [options.stage]
    if options.output is not None:
        parts.append(options.output.stem)
    elif options.pattern is not None:
        parts.append(options.pattern.replace(":", "-"))
    if options.preset is not None:
        parts.append(options.preset)
    return "-".join(parts)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _hush(sentence: str) -> None:
    del sentence
