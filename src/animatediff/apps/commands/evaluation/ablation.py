"""``animatediff ablation NAME``: one ablation of the paper, with its page, plot and table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from animatediff.apps.destination import check_room
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import Progress, ProgressStyle, open_progress
from animatediff.video.preprocess import PreprocessName

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options, Question
    from animatediff.evaluation.reports import Report

AblationName = Literal[
    "adapter", "module", "motion-lora-rank", "motion-lora-clips", "composition", "control"
]


@dataclass(frozen=True)
class AblationOptions:
    """Measure one ablation of the paper: RESULTS/ablations/NAME.json, a page, and plots.

    ``adapter``: five scales of the domain adapter (Fig. 6). ``module``: the temporal Transformer
    against a convolution of equal size (Sec. 5.3). ``motion-lora-rank`` and ``motion-lora-clips``:
    MotionLoRAs of several ranks and from several numbers of clips (Fig. 7), which are trained first
    if they are missing. ``composition``: two MotionLoRAs at once (Sec. 4.3). ``control``: a control
    network that follows sequences (Sec. 5.4).
    """

    name: Annotated[AblationName, tyro.conf.Positional]
    """The ablation."""
    work: Path = Path("build/emoji")
    """The world folder of `animatediff dataset emoji`."""
    results: Path = Path("results")
    """The folder for results."""
    model: str = "emoji"
    """The image model: a name that `animatediff models` lists, or a folder."""
    motion: str = "emoji"
    """Its motion module; for `module`, the Transformer."""
    rival: str = "emoji-conv"
    """For `module`: the convolution, trained for as many steps as the Transformer."""
    adapter: str = "emoji"
    """For `adapter`: the domain adapter."""
    adapted: str = "emoji-adapted"
    """For `adapter`: motion modules trained with it attached."""
    unadapted: str = "emoji-unadapted"
    """For `adapter`: motion modules trained on the same clips without it, or none."""
    alphas: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25, 0.0)
    """For `adapter`: its scales."""
    pattern: str = "zoom-in:0.6"
    """For `motion-lora-rank` and `motion-lora-clips`: the camera move to train."""
    ranks: tuple[int, ...] = (2, 8, 32, 128)
    """For `motion-lora-rank`: the ranks."""
    clips: tuple[int, ...] = (1, 5, 50, 500)
    """For `motion-lora-clips`: the numbers of clips."""
    rank: int = 16
    """For `motion-lora-clips`: the rank."""
    num_clips: int = 50
    """For `motion-lora-rank`: the number of clips."""
    train_steps: int = 600
    """For `motion-lora-rank` and `motion-lora-clips`: training steps of each MotionLoRA."""
    together: tuple[str, str] = ("zoom-in", "pan-right")
    """For `composition`: two MotionLoRAs, names or files."""
    control: str = "edges"
    """For `control`: the control network, a name or a file."""
    hint: PreprocessName = "canny"
    """For `control`: what is drawn from held-out clips as its input."""
    count: Annotated[int | None, optional("N")] = None
    """Number of prompts. The default is 40, or 60 for `module`."""
    frames: int = 16
    """Frames of each animation."""
    steps: Annotated[int | None, optional("N")] = None
    """Denoising steps; the default is the motion module's."""
    seed: int = 0
    """Seed of the choice of prompts and of the drawings."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Precision of the U-Net."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


Measured = tuple["Report", Mapping[str, str]]
"""A report, and facts beside it."""


def ablation(options: AblationOptions) -> int:
    """Measure one ablation and write its page.

    Raises:
        InputError: a package or a model is missing, or an option cannot be used.
        FileError: the world folder lacks its clips or its scorer.
        OutputError: the results cannot be written.
    """
    from animatediff.evaluation.paper.draw import require_matplotlib
    from animatediff.evaluation.paper.experiments import EXPERIMENTS, read_result
    from animatediff.evaluation.paper.pages import write_experiment
    from animatediff.evaluation.presenting.tables import render_rows
    from animatediff.evaluation.reports import write_report
    from animatediff.options.checks import check_counts
    from animatediff.runtime import Runtime

    check_counts(options, "count", "frames", "rank", "ranks", "clips", "num_clips", "train_steps")
    require_matplotlib()
    Runtime(device=options.device, threads=options.threads).apply()
    folder = options.results / "ablations"
    path = folder / f"{options.name}.json"
    check_room(path, option="--results")
    with open_progress(options.progress) as progress:
        report, facts = _ABLATIONS[options.name](options, progress)
        write_report(
            report,
            path,
            question=options.name,
            command=["animatediff", *sys.argv[1:]],
            options=options,
            facts=facts,
        )
        experiment = next(e for e in EXPERIMENTS if e.name == options.name)
        content = read_result(path)
        page, *_ = write_experiment(
            experiment, folder, result=path, content=content, results=options.results
        )
        table = f"{render_rows(report.rows())}\n\n{path}\n{page}"
        progress.tell("result", table, {"path": str(path), "page": str(page)})
    return 0


def _question(options: AblationOptions, question: Question, **changed: object) -> Options:
    """Return the options of ``animatediff evaluate`` that ask this ablation's question."""
    from dataclasses import replace

    from animatediff.apps.commands.evaluation.evaluate import Options

    asked = Options(
        question=question,
        work=options.work,
        results=options.results / "ablations",
        model=options.model,
        motion=options.motion,
        count=options.count,
        frames=options.frames,
        steps=options.steps,
        seed=options.seed,
        precision=options.precision,
        device=options.device,
        threads=options.threads,
        progress=options.progress,
    )
    return replace(asked, **changed)


def _adapter(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.answers import ANSWERS

    asked = _question(
        options,
        "adapter",
        adapter=options.adapter,
        adapted=options.adapted,
        unadapted=options.unadapted,
        alphas=options.alphas,
    )
    return ANSWERS["adapter"](asked, progress), {}


def _module(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.answers import ANSWERS
    from animatediff.errors import InputError
    from animatediff.weights.finding.builtin import resolve_motion

    if "none" in (options.rival, options.motion):
        raise InputError("`ablation module` compares two motion modules; none is not one of them.")
    facts = {
        f"parameters of the {name}": _parameters(resolve_motion(chosen))
        for name, chosen in (("Transformer", options.motion), ("convolution", options.rival))
    }
    asked = _question(options, "motion", rival=options.rival, count=options.count or 60)
    return ANSWERS["motion"](asked, progress), facts


def _rank(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.training import trained_motion_lora

    files = {
        f"rank-{rank}": trained_motion_lora(
            options, name=f"rank-{rank}", rank=rank, clips=options.num_clips, progress=progress
        )
        for rank in options.ranks
    }
    return _motion_loras(options, files, progress, varied="rank")


def _clips(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.training import trained_motion_lora

    files = {
        f"clips-{clips}": trained_motion_lora(
            options, name=f"clips-{clips}", rank=options.rank, clips=clips, progress=progress
        )
        for clips in options.clips
    }
    return _motion_loras(options, files, progress, varied="number of clips")


def _motion_loras(
    options: AblationOptions, files: Mapping[str, Path], progress: Progress, *, varied: str
) -> Measured:
    from animatediff.apps.questions.motion_lora import motion_lora

    asked = _question(
        options, "motion-lora", motion_loras=tuple(files.values()), halved=(), together=()
    )
    facts = {"varied": varied, "pattern": options.pattern, "steps": str(options.train_steps)}
    facts |= {f"parameters of {name}": _parameters(path) for name, path in files.items()}
    return motion_lora(asked, progress), facts


def _composition(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.motion_lora import motion_lora
    from animatediff.weights.finding.builtin import resolve

    files = tuple(resolve("motion-lora", name) for name in options.together)
    asked = _question(
        options,
        "motion-lora",
        motion_loras=files,
        halved=(),
        together=("+".join(path.stem for path in files),),
    )
    return motion_lora(asked, progress), {}


def _control(options: AblationOptions, progress: Progress) -> Measured:
    from animatediff.apps.questions.answers import ANSWERS

    asked = _question(options, "control", control=options.control, hint=options.hint, image="none")
    return ANSWERS["control"](asked, progress), {"network": options.control, "hint": options.hint}


def _parameters(path: Path | None) -> str:
    from math import prod

    from animatediff.weights.storage.files import read_header

    assert path is not None
    return f"{sum(prod(shape) for shape in read_header(path).shapes.values()):,}"


_ABLATIONS: Mapping[AblationName, Callable[[AblationOptions, Progress], Measured]] = {
    "adapter": _adapter,
    "module": _module,
    "motion-lora-rank": _rank,
    "motion-lora-clips": _clips,
    "composition": _composition,
    "control": _control,
}
