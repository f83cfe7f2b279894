"""``animatediff train``: run one stage of the recipe, on the built-in world or on one's own clips.

The same command resumes a stage that was stopped. Under ``torchrun`` or ``accelerate launch`` the
processes share its work.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from animatediff.apps.destination import check_room
from animatediff.apps.options.declared import FieldsOf, Given
from animatediff.apps.progress import ProgressStyle
from animatediff.config import dump_toml, from_table, read_toml
from animatediff.errors import Cancelled, InputError, Interrupted, OutputError, reason_of
from animatediff.options.declaration import Option
from animatediff.training.recipe import Recipe, warmup_steps
from animatediff.training.stages.option_groups import GROUPS

if TYPE_CHECKING:
    import torch

    from animatediff.apps.train_display import Display
    from animatediff.training.stages.stage_options import StageOptions
    from animatediff.training.stages.table import Stage
    from animatediff.training.steps.processes import Processes

REFRESH = 15.0
"""Minimum number of seconds between two updates of the report during a run."""


def groups_for(words: Sequence[str]) -> tuple[type, ...]:
    """The groups of options of the stage that the words name; all of them if they name none."""
    if all(word.startswith("-") for word in words):
        return GROUPS  # without importing what trains
    _import_quietly()
    from animatediff.world.stages.table import STAGES

    stage = next((word for word in words if word in STAGES), None)
    return GROUPS if stage is None else STAGES[stage].takes


def _import_quietly() -> None:
    """Import diffusers without the libraries that it looks for, some of which warn of this machine."""
    from animatediff.weights.image_model.networks import import_networks

    import_networks()


@dataclass(frozen=True)
class TrainOptions:
    """What ``animatediff train`` takes: the stage, its options, its recipe, and those declared here."""

    stage: Annotated[
        str,
        Option(
            "Stage of the recipe; an unknown name lists them all. `train STAGE --help` lists the "
            "options of one stage.",
            group="Training",
            metavar="STAGE",
            positional=True,
            common=True,
        ),
    ] = ""
    options: Annotated[Given, FieldsOf(GROUPS, for_words=groups_for)] = field(default_factory=Given)
    recipe: Annotated[Given, FieldsOf((Recipe,))] = field(default_factory=Given)
    work: Annotated[
        Path,
        Option(
            "Folder of the runs; for the built-in world, the one that `animatediff dataset emoji` "
            "made.",
            group="Output",
            metavar="FOLDER",
            common=True,
            unset="build/emoji",
        ),
    ] = Path("build/emoji")
    preset: Annotated[
        str | None,
        Option(
            "Preset values: overfit-one-clip, to try new data with, or paper, the published ones.",
            group="Training",
            metavar="NAME",
            common=True,
        ),
    ] = None
    validate: Annotated[
        tuple[str, ...],
        Option(
            "Prompt to draw at every checkpoint, at a fixed seed.",
            group="Output",
            metavar="PROMPT",
            foreign=(
                "validation-prompt",
                "validation-prompts",
                "sample-prompts",
            ),
        ),
    ] = ()
    config: Annotated[
        Path | None,
        Option(
            "Read options from a TOML file that --save-config wrote; options of the command line "
            "override it.",
            group="Output",
            metavar="FILE",
        ),
    ] = None
    save_config: Annotated[
        Path | None,
        Option("Write the options to a TOML file for --config.", group="Output", metavar="FILE"),
    ] = None
    shard: Annotated[
        bool,
        Option(
            "Split the frozen image model over several processes: slower, in less memory.",
            group="Machine",
        ),
    ] = False
    tensorboard: Annotated[bool, Option("Write TensorBoard's files too.", group="Output")] = False
    device: Annotated[
        str,
        Option(
            "auto, cpu, cuda, cuda:1 or mps; several processes each get their own.",
            group="Machine",
            metavar="NAME",
        ),
    ] = "auto"
    progress: Annotated[
        ProgressStyle,
        Option(
            "A bar on a terminal and plain lines elsewhere, JSON lines for programs, or none.",
            group="Output",
        ),
    ] = "auto"
    threads: Annotated[
        int | None, Option("CPU threads.", group="Machine", unset="one for each core")
    ] = None


@dataclass(frozen=True)
class Chosen:
    """A stage with every choice made.

    Attributes:
        name: of the stage.
        stage: its row of the table.
        options: what it starts from.
        recipe: how it is trained.
    """

    name: str
    stage: Stage
    options: StageOptions
    recipe: Recipe


def train_stage(command: TrainOptions) -> int:
    """Train, store the result, and print where."""
    from animatediff.apps.train_display import open_display
    from animatediff.runtime import Runtime
    from animatediff.training.runs.meters import board_module
    from animatediff.training.steps.processes import Processes

    Runtime(threads=command.threads).apply()
    if command.tensorboard:
        board_module()
    if command.shard and command.validate:
        raise InputError(
            "One process cannot draw with a model that is split over several; leave out --validate "
            "or --shard."
        )
    processes = Processes()
    several = processes.count > 1
    device = processes.device if several else Runtime(device=command.device).torch_device()
    chosen = choose(command, device=device)
    recipe, options = chosen.recipe, chosen.options
    if options.output is not None:
        check_room(options.output, option="-o")
    if command.save_config is not None:
        processes.first_alone(partial(save_config, command.save_config, chosen))
    display = open_display(command.progress, steps=recipe.steps, is_first=processes.is_first)
    with display:
        return _run(command, chosen, processes, device, display)


def _run(
    command: TrainOptions,
    chosen: Chosen,
    processes: Processes,
    device: torch.device,
    display: Display,
) -> int:
    """Train with a display open."""
    from animatediff.apps.train_preview import previewer
    from animatediff.training.runs.report import write_report
    from animatediff.training.runs.trainer import StepDone, train
    from animatediff.training.stages.option_groups import ClipOptions
    from animatediff.training.steps.sharding import shard_frozen

    recipe, options, say = chosen.recipe, chosen.options, display.say
    say(f"{chosen.name}: {chosen.stage.summary}; {recipe.steps} steps in {recipe.precision}")
    if warmup_steps(recipe) != recipe.warmup:
        say(
            f"warm-up of {warmup_steps(recipe)}, a tenth of {recipe.steps}, as --warmup "
            f"{recipe.warmup} would not end"
        )
    data = options.of(ClipOptions).data
    if data is not None:
        say(f"reading {data}; new clips are decoded once, to check them")
    job = chosen.stage.prepare(options, recipe, device)
    if command.shard:
        shard_frozen(job, processes)
    for note in job.frozen.notes if job.frozen is not None else ():
        say(note)
    folder = command.work / "runs" / run_name(chosen, preset=command.preset)
    facts = {**dataclasses.asdict(recipe), **job.facts}
    title = f"{chosen.name}: {chosen.stage.summary}"
    refreshed = time.monotonic()

    def report(*, running: bool) -> Path:
        return write_report(folder, title=title, facts=facts, running=running)

    def stepped(done: StepDone) -> None:
        nonlocal refreshed
        display.step(done)
        if done.logged and time.monotonic() - refreshed > REFRESH:
            report(running=True)
            refreshed = time.monotonic()

    if processes.is_first and not (folder / "report.html").exists():
        _make(folder)
        say(f"report {report(running=True)}")
    try:
        learned = train(
            job.lesson,
            recipe,
            folder,
            facts=job.facts,
            on_save=previewer(job, folder, command.validate, say=say) if command.validate else None,
            on_step=stepped,
            tell=say,
            tensorboard=command.tensorboard,
        )
        if processes.is_first:
            say(f"wrote {job.save(learned)}")
            say(f"report {report(running=False)}")
            last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
            say(json.dumps(json.loads(last)))
    except (Cancelled, Interrupted):
        if processes.is_first:
            say(f"report {report(running=False)}")
        raise
    finally:
        if sys.exc_info()[0] is None:
            processes.close()
    return 0


def _make(folder: Path) -> None:
    """Make the folder of a run.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder of the run {folder} could not be written ({reason_of(error)}); "
            "choose another with --work."
        ) from None


def choose(command: TrainOptions, *, device: torch.device) -> Chosen:
    """The stage with every choice made: of the command line, else ``--config``, the preset, the stage.

    Raises:
        InputError: there is no such stage or preset, or the stage does not take an option.
        FileError: ``--config`` cannot be read.
    """
    _import_quietly()
    from animatediff.runtime import computes_bf16
    from animatediff.training.stages.presets import preset_named
    from animatediff.training.stages.stage_options import typed_values
    from animatediff.world.stages.table import stage_named

    table = {} if command.config is None else read_toml(command.config)
    name = command.stage or table.pop("stage", "")
    table.pop("stage", None)
    if not isinstance(name, str) or not name:
        raise InputError("train needs the name of a stage; see animatediff train --help.")
    stage = stage_named(name)
    recipe = stage.recipe
    if not computes_bf16(device):  # emulated, bf16 makes a step about nine times as long
        recipe = dataclasses.replace(recipe, precision="fp32")
    values: dict[str, Any] = {}
    if command.preset is not None:
        preset = preset_named(command.preset, stage=name)
        recipe = preset.recipe(recipe)
        known = stage.options(command.work, {}).values
        values |= {k: v for k, v in preset.options.items() if k in known}
    fields = {f.name for f in dataclasses.fields(Recipe)}
    given = {k: v for k, v in table.items() if k in fields}
    if given:
        start = {**json.loads(json.dumps(dataclasses.asdict(recipe))), **given}
        recipe = from_table(start, Recipe, source=str(command.config))
    rest = {k: v for k, v in table.items() if k not in fields}
    values |= typed_values(stage.takes, rest, source=str(command.config))
    values |= command.options.values
    recipe = dataclasses.replace(recipe, **command.recipe.values)
    options = stage.options(command.work, values, precision=recipe.precision)
    return Chosen(name, stage, options, recipe)


def save_config(path: Path, chosen: Chosen) -> None:
    """Write a stage, its options and its recipe as TOML that ``--config`` reads back.

    Raises:
        OutputError: the file cannot be written.
    """
    table = {"stage": chosen.name, **chosen.options.table(), **dataclasses.asdict(chosen.recipe)}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(dump_toml(table), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}.") from None


def run_name(chosen: Chosen, *, preset: str | None = None) -> str:
    """The name of a run's folder: of the stage, and of its output file or camera move if given."""
    from animatediff.training.stages.option_groups import MotionLoraOptions

    parts = [chosen.name]
    pattern = chosen.options.of(MotionLoraOptions).pattern
    if chosen.options.output is not None:
        parts.append(chosen.options.output.stem)
    elif pattern is not None:
        parts.append(pattern.replace(":", "-"))
    if preset is not None:
        parts.append(preset)
    return "-".join(parts)
