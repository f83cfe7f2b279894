"""``animatediff evaluate``: measure a model and write the results."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from animatediff.apps.destination import check_room
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import ProgressStyle, open_progress
from animatediff.sampling.steps.sampler_names import SchedulerName
from animatediff.video.preprocess import PreprocessName

Question = Literal[
    "scorer",
    "autoencoder",
    "pictures",
    "motion",
    "transfer",
    "adapter",
    "motion-lora",
    "single-clip",
    "still-vs-motion",
    "actions",
    "control",
]


@dataclass(frozen=True)
class Options:
    """Measure a model of the built-in world: write RESULTS/QUESTION.json, and print its table.

    ``scorer`` trains the independent judge, which every other question needs. ``autoencoder``: what
    does a picture lose? ``pictures``: is the picture right? ``motion``: does it move? ``transfer``:
    does motion carry over to a style that never moved? ``adapter``: does the watermark go with the
    domain adapter? ``motion-lora``: does the camera move as it was taught to? ``single-clip``: do
    things move as the one clip that a MotionLoRA learned from? ``still-vs-motion``: what does an
    animation lose beside the still of the same prompt? ``actions``: does "a wrench spinning" spin?
    ``control``: do edges follow given ones, and does a picture that moves stay itself?
    """

    question: Annotated[Question, tyro.conf.Positional]
    """The question."""
    work: Path = Path("build/emoji")
    """The world folder of `animatediff dataset emoji`; the scorer is stored there."""
    results: Path = Path("results")
    """The folder for results."""
    views: int = 3
    """For `scorer`: number of views of each still in training; one takes a third of the time."""
    model: str = "emoji"
    """The image model: a name that `animatediff models` lists, or a folder."""
    motion: str = "emoji"
    """Its motion module."""
    rival: str = "emoji-conv"
    """For `motion`: the convolution of equal size, or none."""
    loras: tuple[str, ...] = ("noto:1",)
    """For `transfer` and `still-vs-motion`: the style as LoRAs on the model, NAME:SCALE each; empty
    to skip.
    """
    finetuned: str = "emoji-noto"
    """For `transfer`: the style as a fine-tuned model, or none."""
    embedding: Annotated[str | None, optional("FILE")] = None
    """For `transfer`: the style as a textual inversion, a name or a file, whose word is <STYLE>."""
    style: str = "noto"
    """For `transfer`: the style's name in the stills."""
    count: Annotated[int | None, optional("N")] = None
    """Number of prompts. The default is 100 with clips, 40 with held-out clips for `adapter`,
    `motion-lora`, `single-clip` and `control`, and 40 without clips for `actions`.
    """
    limit: Annotated[int | None, optional("N")] = None
    """For `pictures`: at most this many concepts, chosen at random."""
    splits: tuple[str, ...] = ()
    """Whose clips give the prompts: train, val, test. The default is train, or val and test for
    `adapter`, `motion-lora`, `single-clip` and `control`.
    """
    adapter: str = "emoji"
    """For `adapter`: the domain adapter, a name or a file."""
    adapted: str = "emoji-adapted"
    """For `adapter`: motion modules trained with it attached, a name or a file."""
    unadapted: str = "emoji-unadapted"
    """For `adapter`: motion modules trained on the same clips without it, or none."""
    alphas: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25, 0.0)
    """For `adapter`: its scales."""
    motion_loras: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE...")] = ()
    """For `motion-lora` and `single-clip`: files. The default is all of the world folder that name
    their pattern or their clip.
    """
    halved: tuple[str, ...] = ("zoom-in", "pan-right", "tilt-up", "roll-clockwise")
    """For `motion-lora`: which of them are also drawn at scale 0.5."""
    together: tuple[str, ...] = ("zoom-in+pan-right",)
    """For `motion-lora`: which are drawn together, NAME+NAME each. The default pair is skipped if it
    does not exist.
    """
    control: str = "edges"
    """For `control`: the network that follows a hint in each frame, a name or a file, or none."""
    hint: PreprocessName = "canny"
    """For `control`: what it follows, drawn from held-out clips."""
    image: str = "auto"
    """For `control`: how `--image` moves a picture: auto as without another option, or by a SparseCtrl
    network, a name or a file; none to skip.
    """
    frames: int = 16
    """Frames of each animation."""
    scheduler: Annotated[SchedulerName | None, optional("NAME")] = None
    """The sampler; the default is the motion module's."""
    steps: Annotated[int | None, optional("N")] = None
    """Denoising steps; the default is the motion module's."""
    free_init: int = 1
    """FreeInit passes."""
    from_still: Annotated[float | None, optional("X")] = None
    """Begin from a still, as `animate --from-still`; the default is the motion module's."""
    picture_strength: Annotated[float | None, optional("X")] = None
    """Follow the still, as `animate --picture-strength`; the default is 0."""
    carry: Annotated[float | None, optional("X")] = None
    """Carry the still, as `animate --carry`; the default is the motion module's for `still-vs-motion`
    and `actions`, and 0 for questions about the motion module itself. 0 also takes words for actions
    as part of the prompt: frames are as the motion module draws them."""
    guidance: Annotated[float | None, optional("X")] = None
    """Guidance scale; the default is the model's."""
    guidance_from: float = 0.0
    """The timestep, of 1,000, from which guidance applies."""
    seed: int = 0
    """Seed of the choice of prompts, of the drawings and of the scorer's training."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Precision of the U-Net. fp32 asks the same question on every machine; auto is as in `animate`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def evaluate(options: Options) -> int:
    """Answer one question.

    Raises:
        InputError: a package or a model is missing, or an option cannot be used.
        FileError: the world folder lacks its stills, its clips or its scorer.
        OutputError: the results cannot be written.
    """
    from animatediff.options.checks import check_counts
    from animatediff.weights.image_model.networks import import_networks

    check_counts(options, "count", "limit", "views", "frames")
    import_networks()  # first, or diffusers imports libraries that warn of this machine
    from animatediff.apps.questions.answers import ANSWERS
    from animatediff.evaluation.presenting.tables import render_rows
    from animatediff.evaluation.reports import write_report
    from animatediff.runtime import Runtime

    Runtime(device=options.device, threads=options.threads).apply()
    check_room(options.results / f"{options.question}.json", option="--results")
    with open_progress(options.progress) as progress:
        report = ANSWERS[options.question](options, progress)
        path = write_report(
            report,
            options.results / f"{options.question}.json",
            question=options.question,
            command=["animatediff", *sys.argv[1:]],
            options=options,
        )
        table = f"{render_rows(report.rows())}\n\n{path}"
        progress.tell("result", table, {"path": str(path)})
    return 0
