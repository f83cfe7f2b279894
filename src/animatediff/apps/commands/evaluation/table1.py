"""``animatediff evaluate table1``: AnimateDiff and its baselines, as in Table 1 of the paper."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from animatediff.apps.commands.evaluation.metrics import MetricOptions
from animatediff.apps.destination import check_room
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import Progress, ProgressStyle, open_progress

if TYPE_CHECKING:
    from PIL import Image

    from animatediff.evaluation.table1.plan import Item, Plan
    from animatediff.evaluation.table1.report import Table1Report
    from animatediff.evaluation.table1.run import Show
    from animatediff.video import Video

MethodName = Literal["text2video-zero", "tune-a-video", "animatediff", "animatediff-carried"]


@dataclass(frozen=True)
class Table1Options:
    """Draw the same prompts with AnimateDiff, Text2Video-Zero and Tune-A-Video, and compare them.

    Writes RESULTS/table1.json and a page with all animations in RESULTS/table1. An interrupted
    comparison continues. Without --plan, it compares the personalised models of the built-in world
    by its own scorer.
    """

    plan: Annotated[Path | None, optional("FILE")] = None
    """Models, prompts and driving clips as TOML; see recipes/evaluate/table1.toml."""
    work: Path = Path("build/emoji")
    """The world folder of `animatediff dataset emoji`; drawings are kept in it."""
    results: Path = Path("results")
    """The folder for results."""
    metrics: Annotated[MetricOptions, tyro.conf.arg(name="")] = field(default_factory=MetricOptions)
    methods: tuple[MethodName, ...] = ("text2video-zero", "tune-a-video", "animatediff")
    """Methods to compare; animatediff-carried is AnimateDiff with --carry 1."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Only these personalised models of the plan."""
    prompts: Annotated[int | None, optional("N")] = None
    """Only the first prompts of each model; a later comparison of more continues this one."""
    driving: int = 10
    """Without --plan: at most this many driving clips; three prompts of each model share one."""
    motion: str = "emoji"
    """Without --plan: the motion module, a name or a file."""
    more: Annotated[Path | None, optional("FILE")] = None
    """Without --plan: a LoRA of the second held-out style, high contrast."""
    frames: Annotated[int | None, optional("N")] = None
    """Frames of each animation; the default is the plan's, 16."""
    references: Annotated[int | None, optional("N")] = None
    """Reference pictures for each prompt; the default is the plan's, 8."""
    steps: Annotated[int | None, optional("N")] = None
    """AnimateDiff's denoising steps; the default is the plan's, or the motion module's."""
    zero_steps: Annotated[int | None, optional("N")] = None
    """DDIM steps of Text2Video-Zero; other numbers than 50 scale its noise levels with them."""
    tune_train_steps: Annotated[int | None, optional("N")] = None
    """Steps of Tune-A-Video's fine-tuning; the default is the plan's, 500."""
    tune_steps: Annotated[int | None, optional("N")] = None
    """DDIM steps of Tune-A-Video; the default is the plan's, 50."""
    bring: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=FOLDER...")] = ()
    """Clips of other systems, such as Gen-2, whose files are named after the prompts."""
    vbench: Annotated[Path | None, optional("FOLDER")] = None
    """Also export all animations under the names that VBench expects, a folder for each method."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Precision of AnimateDiff; the baselines compute in fp32."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def table1(options: Table1Options) -> int:
    """Draw, measure and write the table and its page.

    Raises:
        InputError, FileError, MemoryLimitError, OutputError, NumericalError: see ``errors.py``.
    """
    from animatediff.evaluation.table1.brought import bring
    from animatediff.evaluation.table1.plan import DRAWN
    from animatediff.evaluation.table1.run import run_table1
    from animatediff.runtime import Runtime

    runtime = Runtime(device=options.device, precision=options.precision, threads=options.threads)
    runtime.apply()
    check_room(options.results / "table1.json", option="--results")
    user_ranks(options.results)
    metrics = options.metrics.load(work=options.work, device=runtime.torch_device())
    plan = _plan(options).validated()
    brought = bring(options.bring, items=plan.items())
    methods = tuple(m for m in DRAWN if m.lower() in options.methods)
    with open_progress(options.progress) as progress:
        report = run_table1(
            plan,
            work=options.work / "table1",
            metrics=metrics,
            runtime=runtime,
            methods=methods,
            brought=brought,
            show=_show(options.results / "table1", vbench=options.vbench),
            watch=_watch(progress),
        )
        table, paths = published(report, options.results, options=options)
        progress.tell("result", table, paths)
    return 0


def published(
    report: Table1Report, results: Path, *, options: object
) -> tuple[str, dict[str, str]]:
    """Write a comparison and its page into a folder for results.

    Returns:
        Its table with the two paths, and the paths by name.

    Raises:
        FileError: the folder's user study is broken.
        OutputError: the folder cannot be written.
    """
    from animatediff.evaluation.presenting.tables import render_rows
    from animatediff.evaluation.reports import write_report
    from animatediff.evaluation.table1.page import write_table1_page

    path = results / "table1.json"
    command = ["animatediff", *sys.argv[1:]]
    write_report(report, path, question="table1", command=command, options=options)
    page = write_table1_page(
        json.loads(path.read_text(encoding="utf-8")),
        results / "table1" / "index.html",
        json_path=path,
        study=user_ranks(results),
    )
    table = f"{render_rows(report.rows())}\n\n{path}\n{page}"
    return table, {"path": str(path), "page": str(page)}


def user_ranks(results: Path) -> Mapping[str, Any] | None:
    """Return the report of the user study in a folder of results; ``None`` if none was run.

    Raises:
        FileError: it is broken.
    """
    from animatediff.errors import FileError
    from animatediff.evaluation.paper.experiments import read_result

    path = results / "study.json"
    if not path.exists():
        return None
    study = read_result(path)
    if not isinstance(study["report"], dict) or "ranks" not in study["report"]:
        raise FileError(f"{path} has no user ranks; run `animatediff study report` again.")
    return study


def _plan(options: Table1Options) -> Plan:
    from animatediff.errors import InputError
    from animatediff.evaluation.baselines.text2video_zero import ZeroOptions
    from animatediff.evaluation.table1.plan import Settings, read_plan

    changed: dict[str, float] = {}
    if options.frames is not None:
        changed["num_frames"] = options.frames
    for name in ("references", "steps", "tune_train_steps", "tune_steps"):
        if (value := getattr(options, name)) is not None:
            changed[name] = value
    if options.zero_steps is not None:
        zero = ZeroOptions.of_steps(options.zero_steps)
        changed |= {"zero_steps": zero.steps, "zero_t0": zero.t0, "zero_t1": zero.t1}
    if options.plan is not None:
        for name in ("motion", "more", "driving"):
            if getattr(options, name) != getattr(Table1Options(), name):
                raise InputError(
                    f"--{name} is for a comparison without --plan; leave it out, or change "
                    f"{options.plan}."
                )
        plan = read_plan(options.plan)
        plan = replace(plan, settings=replace(plan.settings, **changed))
        return plan.shortened(models=options.models, prompts=options.prompts)
    from animatediff.data.shards import read_shards
    from animatediff.world.protocol.table1 import PROMPTS, world_plan

    return world_plan(
        read_shards(options.work / "clips"),
        folder=options.work / "table1" / "driving",
        more=options.more,
        motion=options.motion,
        settings=replace(Settings(), **changed),
        prompts=PROMPTS if options.prompts is None else options.prompts,
        num_clips=options.driving,
    ).shortened(models=options.models)


def _show(folder: Path, *, vbench: Path | None) -> Show:
    from animatediff.evaluation.table1.page import driving_name, file_name, media_name
    from animatediff.evaluation.table1.run import Show
    from animatediff.evaluation.vbench_names import export_for_vbench

    def placed(name: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def animation(method: str, item: Item, video: Video) -> None:
        video.save(placed(media_name(item.model, item.index, method)))
        if vbench is not None:
            parts = (file_name(method), file_name(item.model))
            export_for_vbench([(item.prompt, video)], vbench.joinpath(*parts))

    def references(item: Item, picture: Image.Image) -> None:
        picture.save(placed(media_name(item.model, item.index, "references")), quality=85)

    def driving(number: int, video: Video) -> None:
        video.save(placed(driving_name(number)))

    return Show(animation, references, driving)


def _watch(progress: Progress) -> Callable[[int, int], None]:
    started = False

    def watch(done: int, total: int) -> None:
        nonlocal started
        if not started:
            progress.stage("compare", total=total)
            started = True
        progress.at(done)

    return watch
