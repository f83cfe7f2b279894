"""``animatediff batch FILE``: draw every request in a file; resumes where it stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from animatediff.apps.many.entries import read_entries
from animatediff.apps.naming import DEFAULT
from animatediff.apps.options.declared import FieldsOf, Given
from animatediff.apps.options.machine import COMPILE, MEMORY, Machine, Memory, runtime_of
from animatediff.apps.progress import Progress, ProgressStyle, open_progress
from animatediff.errors import Cancelled, InputError, OutputError, reason_of
from animatediff.options.declaration import Option
from animatediff.sampling.request import AnimationRequest

if TYPE_CHECKING:
    from animatediff.apps.cluster.joining import ClusterOptions
    from animatediff.apps.many.estimate import Pace
    from animatediff.apps.many.plan import Item, Plan
    from animatediff.apps.many.studio import Studio
    from animatediff.apps.many.work import Outcome

PAGE_EVERY = 2.0
"""Seconds between two writings of the page while a batch runs."""
TRIAL_FROM = 2
"""Pending requests from which a trial is worth its time."""
SHOWN = 10
"""Files that ``--dry-run`` lists."""


@dataclass(frozen=True)
class BatchOptions:
    """What ``animatediff batch`` takes: its own options, and those of a request for every row."""

    file: Annotated[
        str,
        Option(
            "The requests: TOML with a [[request]] for each, JSON lines, CSV whose first line names "
            "the fields, or TXT with one prompt a line.",
            group="Batch",
            metavar="FILE",
            positional=True,
            common=True,
        ),
    ] = ""
    request: Annotated[Given, FieldsOf((AnimationRequest,), without=("prompt",))] = field(
        default_factory=Given
    )
    output: Annotated[
        Path | None,
        Option(
            "The folder to write to; it is created.",
            group="Batch",
            metavar="FOLDER",
            aliases=("-o",),
            foreign=("out", "outdir", "output-dir"),
            common=True,
            unset="one named after FILE, here",
        ),
    ] = None
    formats: Annotated[
        str,
        Option(
            "mp4, gif, webp, apng, webm, png, prores, ffv1, av1 or png16, or several with commas.",
            group="Batch",
            name="format",
            metavar="LIST",
            foreign=("formats",),
            common=True,
        ),
    ] = "mp4"
    name: Annotated[
        str,
        Option(
            "How outputs are named; {number}, {hash} and every field of a request can stand in it.",
            group="Batch",
            metavar="TEMPLATE",
            foreign=("filename", "filename-pattern", "template"),
            common=True,
        ),
    ] = DEFAULT
    dry_run: Annotated[
        bool,
        Option(
            "List what would be drawn and estimate how long it would take; draw nothing.",
            group="Batch",
            common=True,
        ),
    ] = False
    device: Annotated[
        str, Option("auto, cpu, cuda, cuda:1 or mps.", group="Machine", metavar="NAME")
    ] = "auto"
    threads: Annotated[
        int | None, Option("CPU threads.", group="Machine", unset="one for each core")
    ] = None
    compile: Annotated[bool, COMPILE] = False
    memory: Annotated[Memory, MEMORY] = "full"
    ray: Annotated[
        str,
        Option(
            "Draw on a Ray cluster: its address, auto for the one of this machine, or local to start "
            "one here. The same files as on this machine.",
            group="Machine",
            metavar="ADDRESS",
        ),
    ] = ""
    workers: Annotated[
        int,
        Option(
            "With --ray: how many workers draw, each with a loaded model.",
            group="Machine",
            least=0,
            most=100_000,
            unset="one for each GPU of the cluster, or for each node without GPUs",
        ),
    ] = 0
    progress: Annotated[
        ProgressStyle,
        Option("A bar on a terminal, JSON lines for programs, or none.", group="Machine"),
    ] = "auto"


def batch(options: BatchOptions) -> int:
    """Draw every request of a file that is not drawn yet, and a page that shows all of them.

    Returns:
        0, or the exit code of the first request that failed.

    Raises:
        InputError, FileError: the file or one of its rows is invalid; nothing is drawn.
        OutputError: the folder cannot be written.
    """
    from animatediff.apps.many.plan import plan_batch

    if not options.file:
        raise InputError("There is no FILE; name one with the requests, such as prompts.csv.")
    path = Path(options.file)
    entries = read_entries(path, overrides=options.request.values)
    folder = options.output or Path(path.stem)
    plan = plan_batch(
        entries, folder=folder, formats=formats_of(options.formats), template=options.name
    )
    make_folder(folder)
    plan.check()
    with open_progress(options.progress) as progress, plan.locked():
        pending = plan.pending()
        _tell_plan(plan, pending, progress)
        if options.dry_run:
            _dry_run(pending, options, progress)
            return 0
        outcome = run_plan(
            plan,
            machine=options,
            progress=progress,
            title=path.stem,
            cluster=cluster_of(options),
        )
    return next((code for _, code in outcome.failures.values()), 0)


def cluster_of(options: BatchOptions) -> ClusterOptions | None:
    """The Ray cluster that the options name; ``None`` for this machine.

    Raises:
        InputError: --workers is given without --ray.
    """
    if options.workers and not options.ray:
        raise InputError("--workers is for --ray; without it, this machine draws one by one.")
    if not options.ray:
        return None
    from animatediff.apps.cluster.joining import ClusterOptions

    return ClusterOptions(
        options.ray,
        options.workers,
        options.device,
        options.threads,
        options.compile,
        options.memory,
    )


def run_plan(
    plan: Plan,
    *,
    machine: Machine,
    progress: Progress,
    title: str,
    cluster: ClusterOptions | None = None,
) -> Outcome:
    """Draw the pending items of a locked plan, and keep its page up to date.

    Args:
        plan: what to draw, and where files go.
        machine: how this machine runs the model.
        progress: called for every file.
        title: of the page.
        cluster: draws instead of this machine.

    Raises:
        InputError: the cluster cannot be used, or the model cannot run so here.
        OutputError: the folder cannot be written any more.
    """
    from animatediff.apps.many.summary import write_page
    from animatediff.apps.many.work import Outcome, work_through

    pending = plan.pending()
    if not pending:
        page = write_page(plan, outcome=Outcome(), title=title)
        progress.tell("page", f"{page} shows all of them.", {"path": str(page)})
        return Outcome()
    from animatediff.apps.many.studio import by_model

    pending = by_model(pending)
    last = 0.0

    def after(outcome: Outcome) -> None:
        nonlocal last
        if time.monotonic() - last >= PAGE_EVERY:
            write_page(plan, outcome=outcome, title=title)
            last = time.monotonic()

    try:
        if cluster is not None:
            from animatediff.apps.cluster.drawing import work_on_cluster

            outcome = work_on_cluster(
                pending, plan=plan, options=cluster, progress=progress, after=after
            )
        else:
            from animatediff.apps.many.studio import Studio

            runtime = runtime_of(machine)
            runtime.apply()  # what cannot run is an error once, not in each row
            studio = Studio(runtime, progress)
            pace = _estimate(pending, studio, progress)
            outcome = work_through(
                pending, plan=plan, draw=studio, pace=pace, progress=progress, after=after
            )
    except (KeyboardInterrupt, Cancelled):
        left = len(plan.pending())
        raise Cancelled(
            f"Stopped; {len(plan.items) - left} of {len(plan.items)} are drawn. The same command "
            "draws the rest."
        ) from None
    page = write_page(plan, outcome=outcome, title=title)
    failed = f", {len(outcome.failures)} failed" if outcome.failures else ""
    text = f"{len(outcome.seconds)} drawn{failed}; {page} shows all of them."
    progress.tell("page", text, {"path": str(page), "failed": len(outcome.failures)})
    return outcome


def formats_of(text: str) -> tuple[str, ...]:
    """The formats of a list with commas.

    Raises:
        InputError: one is unknown.
    """
    from animatediff.video import ALIASES, FORMATS

    words = [part.strip().lower().lstrip(".") for part in text.split(",") if part.strip()]
    asked = tuple(ALIASES.get(word, word) for word in words)
    for one in asked:
        if one not in FORMATS:
            raise InputError(
                f"{one!r} is not a supported format; it is one of {', '.join(FORMATS)}."
            )
    if not asked:
        raise InputError(f"--format is empty; it is one of {', '.join(FORMATS)}.")
    return tuple(dict.fromkeys(asked))


def make_folder(folder: Path) -> None:
    """Create a folder for outputs, with those above it.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {reason_of(error)}.") from None


def _tell_plan(plan: Plan, pending: list[Item], progress: Progress) -> None:
    done = len(plan.items) - len(pending)
    parts = [f"{len(plan.items)} requests"]
    if plan.repeated:
        parts.append(f"{plan.repeated} more are equal to one of them")
    if done:
        parts.append(f"{done} done already")
    parts.append(f"{len(pending)} to draw")
    facts = {"total": len(plan.items), "done": done, "pending": len(pending)}
    progress.tell("plan", f"{', '.join(parts)}.", facts)


def _estimate(pending: list[Item], studio: Studio, progress: Progress) -> Pace:
    """The pace of a short trial, where there is enough to draw."""
    from animatediff.apps.many.estimate import Pace, spoken, trial, work_of

    if len(pending) < TRIAL_FROM:
        return Pace()
    try:
        first = pending[0].request
        like = studio.resolved(first)
        progress.stage("estimate")
        pace = trial(first, like=like, draw=studio)
    except (ValueError, ArithmeticError, RuntimeError):
        return Pace()  # Whatever is wrong is reported when the request itself is drawn.
    seconds = pace.time_for(sum(work_of(item.request, like=like) for item in pending))
    text = f"Estimated time: {spoken(seconds)}, from a trial of two steps."
    progress.tell("estimate", text, {"seconds": round(seconds, 1)})
    return Pace()


def _dry_run(pending: list[Item], options: BatchOptions, progress: Progress) -> None:
    for item in pending[:SHOWN]:
        names = ", ".join(item.names)
        progress.tell("pending", f"{names} ({item.source})", {"files": list(item.names)})
    if len(pending) > SHOWN:
        progress.tell("pending", f"... and {len(pending) - SHOWN} more", {})
    if not pending:
        return
    from animatediff.apps.many.studio import Studio, by_model

    pending = by_model(pending)
    _estimate(pending, Studio(runtime_of(options), progress), progress)
