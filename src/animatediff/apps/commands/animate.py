"""``animatediff animate PROMPT``: options in a user's words become requests, and requests files."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from animatediff.apps.commands.user_config import read_user_config
from animatediff.apps.destination import check_writable, labels_of, plan_destination, slug
from animatediff.apps.naming import check_template, hash_of, named
from animatediff.apps.options.authors_config import is_authors_config, read_authors_config
from animatediff.apps.options.declared import FieldsOf, Given
from animatediff.apps.options.machine import COMPILE, MEMORY, Memory, runtime_of
from animatediff.apps.progress import ProgressStyle, open_progress
from animatediff.config import dump_toml, from_table, read_toml
from animatediff.errors import InputError, OutputError, reason_of
from animatediff.options.declaration import Option
from animatediff.options.respelling import respelled_table
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.travel_files import Travel, read_travel_file
from animatediff.weights.roles import ROLES

MAX_SEEDS = 64
MAX_PLAYS = 65535
_FILES = ("model", "motion", "adapter", "motion_loras")
"""Fields in which the requests of one command must agree, as they share an animator."""


@dataclass(frozen=True)
class AnimateOptions:
    """What ``animatediff animate`` takes: the request's options, and those declared here."""

    request: Annotated[Given, FieldsOf((AnimationRequest,))] = field(default_factory=Given)
    travel: Annotated[
        Path | None,
        Option(
            "Keyframes in a file: A1111's lines, FizzNodes' or Deforum's table, or a project of "
            "animatediff-cli-prompt-travel.",
            group="Prompt",
            name="prompts",
            metavar="FILE",
            foreign=("prompt-travel", "prompt-map", "prompt-file", "prompts-file"),
        ),
    ] = None
    keyframes: Annotated[
        tuple[str, ...],
        Option(
            "One keyframe, such as '8: a hare', '50%: a hare' or '1.5s: a hare'.",
            group="Prompt",
            name="keyframe",
            metavar="FRAME:TEXT",
            foreign=("keyframes",),
        ),
    ] = ()
    negative_keyframes: Annotated[
        tuple[str, ...],
        Option(
            "One keyframe of the negative prompt, such as '8: blurred'; written as --keyframe.",
            group="Prompt",
            name="negative-keyframe",
            metavar="FRAME:TEXT",
        ),
    ] = ()
    seeds: Annotated[
        tuple[str, ...],
        Option(
            "Seed of the noise; -1 draws one. Several, repeated or with commas, are written one by "
            "one, and side by side in a labelled grid.",
            group="Sampling",
            name="seed",
            metavar="N",
            foreign=("seeds", "random-seed", "noise-seed"),
            common=True,
            unset="0",
        ),
    ] = ()
    size: Annotated[
        str | None,
        Option(
            "Width and height in pixels, such as 128x128; multiples of 8.",
            group="Output",
            metavar="WxH",
            foreign=("resolution", "res", "image-size"),
            common=True,
            unset="the model's own",
        ),
    ] = None
    output: Annotated[
        Path | None,
        Option(
            "The file to write.",
            group="Output",
            metavar="FILE",
            aliases=("-o",),
            foreign=("out", "outfile", "out-file", "save", "save-path", "savename", "outdir"),
            common=True,
            unset="a new file here, named after the prompt and the seed",
        ),
    ] = None
    name: Annotated[
        str | None,
        Option(
            "How the output is named without --output: a template with {prompt}, {seed}, {date}, "
            "{time}, {hash} and every other field of a request.",
            group="Output",
            metavar="TEMPLATE",
            foreign=("filename", "filename-pattern", "filename-format"),
            unset="{prompt}-{seed}; `animatediff config name` changes it",
        ),
    ] = None
    formats: Annotated[
        str | None,
        Option(
            "mp4, gif, webp, apng, webm, png, prores, ffv1, av1 or png16, or several with commas.",
            group="Output",
            name="format",
            metavar="LIST",
            foreign=("formats", "save-format", "ext", "output-format"),
            unset="what FILE ends in",
        ),
    ] = None
    plays: Annotated[
        int,
        Option(
            "How often GIF, WebP and APNG play; 0 is forever.",
            group="Output",
            name="loop-count",
            foreign=("loop-number", "gif-loop", "gif-loops"),
            least=0,
            most=MAX_PLAYS,
        ),
    ] = 0
    preview: Annotated[
        Path | None,
        Option("A PNG of all frames, rewritten while denoising.", group="Output", metavar="FILE"),
    ] = None
    config: Annotated[
        Path | None,
        Option(
            "Read options from a TOML file that --save-config wrote, or from a YAML file of the "
            "AnimateDiff authors' demo. Options of the command line override it.",
            group="Output",
            metavar="FILE",
            foreign=("config-file", "settings", "inference-config"),
        ),
    ] = None
    save_config: Annotated[
        Path | None,
        Option("Write the options to a TOML file for --config.", group="Output", metavar="FILE"),
    ] = None
    device: Annotated[
        str,
        Option(
            "auto, cpu, cuda, cuda:1 or mps.",
            group="Machine",
            metavar="NAME",
            foreign=("gpu", "cuda", "device-id", "gpu-id"),
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Option(
            "CPU threads; fewer leave the rest of a busy machine alone.",
            group="Machine",
            foreign=("num-threads",),
            unset="one for each core",
        ),
    ] = None
    compile: Annotated[bool, COMPILE] = False
    memory: Annotated[Memory, MEMORY] = "full"
    progress: Annotated[
        ProgressStyle,
        Option("A bar on a terminal, JSON lines for programs, or none.", group="Machine"),
    ] = "auto"


def animate(options: AnimateOptions) -> None:
    """Write the animations that the options ask for.

    Raises:
        InputError, FileError, MemoryLimitError, OutputError, NumericalError: see ``errors.py``.
    """
    from animatediff.video import FORMATS

    requests = requests_of(options)
    several = len(requests) > 1
    user = read_user_config()
    first = requests[0]
    template = options.name or user.name
    if template:
        check_template(template, option="--name")
        name = named(template, first, number=1, key=hash_of(first))
    else:
        name = slug(first.prompt or next(iter(first.prompts.values())))
        name = name if several else f"{name}-{first.seed}"
    labels = ["", *labels_of([request.seed for request in requests])] if several else [""]
    destination = plan_destination(
        options.output,
        formats=options.formats,
        known=FORMATS,
        name=name,
        labels=labels,
        folder=Path(user.folder) if user.folder else None,
    )
    spared = [Path(first.init)] if first.init else []
    destination.check(labels=labels, frames=first.num_frames, spared=spared)
    if options.preview is not None:
        check_writable(options.preview, option="--preview")
        results = [path for label in labels for path in destination.paths(label=label)]
        if options.preview.resolve() in [path.resolve() for path in results]:
            raise InputError(
                f"--preview {options.preview} is also the result; give it another name."
            )
    if options.save_config is not None:
        check_writable(options.save_config, option="--save-config")
        save_config(requests, options.save_config)
    with open_progress(options.progress) as progress:
        progress.stage("load")
        from animatediff.weights.finding.builtin import resolve_model, resolve_motion
        from animatediff.weights.storage.read_ahead import first_read, read_ahead

        model, motion = (
            first.model or ROLES["model"].default,
            first.motion or ROLES["motion"].default,
        )
        read_ahead(first_read(resolve_model(model), resolve_motion(motion)))
        from animatediff.apps.render import render
        from animatediff.sampling.choosing.finish import check_networks

        check_networks(first)

        render(
            requests,
            destination=destination,
            runtime=runtime_of(options, request=first),
            progress=progress,
            preview=options.preview,
            plays=check_plays(options.plays),
        )


def check_plays(plays: int) -> int:
    """How often a file plays, if it can be stored.

    Raises:
        InputError: it cannot.
    """
    if not 0 <= plays <= MAX_PLAYS:
        raise InputError(f"--loop-count {plays} is out of range; use 0 to {MAX_PLAYS}.")
    return plays


def requests_of(options: AnimateOptions) -> list[AnimationRequest]:
    """The requests that a command line makes, one for each seed: of ``--config``, then the options.

    Raises:
        InputError: an option cannot be used, or there is nothing to draw.
        FileError: ``--config`` or ``--prompts`` cannot be read.
    """
    bases = _bases(options)
    own = {**options.request.values, **_size(options), **_travel(options)}
    requests = [
        replace(base, **own, **seed).validated()
        for base in bases
        for seed in parse_seeds(options.seeds)
    ]
    first = requests[0]
    if not all(request.prompt.strip() or request.prompts for request in requests):
        raise InputError("There is no PROMPT; say in quotes what to draw, or give --prompts.")
    for name in _FILES:
        if any(getattr(request, name) != getattr(first, name) for request in requests):
            raise InputError(
                f"{options.config or options.travel} has entries with different {name}; "
                "keep those with the same files, and animate the others by themselves."
            )
    return requests


def _bases(options: AnimateOptions) -> list[AnimationRequest]:
    """What the options of a command line override: the requests of a file, or an empty one."""
    paths = [path for path in (options.config, options.travel) if path is not None]
    theirs = [path for path in paths if is_authors_config(path)]
    if theirs and len(paths) > 1:
        raise InputError(f"{theirs[0]} is a whole configuration; give no other file with it.")
    if theirs:
        requests = read_authors_config(theirs[0])
        if not requests[0].model and "model" not in options.request.values:
            raise InputError(f"{theirs[0]} names no image model; give one with --model.")
        return requests
    return [read_config(options.config) if options.config is not None else AnimationRequest("")]


def read_config(path: Path) -> AnimationRequest:
    """The request of a TOML file, with an empty prompt if it has none.

    Raises:
        FileError: the file cannot be read.
        InputError: a key is unknown, or a value has the wrong type.
    """
    table = respelled_table(AnimationRequest, {"prompt": "", **read_toml(path)})
    return from_table(table, AnimationRequest, source=str(path))


def save_config(requests: Sequence[AnimationRequest], path: Path) -> None:
    """Write a request as TOML that ``read_config`` reads back as an equal one.

    Raises:
        InputError: there are several requests.
        OutputError: the file cannot be written.
    """
    if len(requests) > 1:
        raise InputError("--save-config writes one request; give one --seed.")
    request = requests[0]
    whole = request.rate.denominator == 1
    fps = request.rate.numerator if whole else str(request.rate)
    text = dump_toml({**asdict(request), "fps": None if request.fps is None else fps})
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}.") from None


def _size(options: AnimateOptions) -> dict[str, int]:
    """Width and height, if ``--size`` is given."""
    if options.size is None:
        return {}
    if options.request.values.keys() & {"width", "height"}:
        raise InputError("Give --size, or --width and --height, but not both.")
    width, height = parse_size(options.size)
    return {"width": width, "height": height}


def _travel(options: AnimateOptions) -> dict[str, Any]:
    """What keyframes of the command line or of ``--prompts`` set; other options override the file."""
    travel = read_keyframes(options)
    negatives = _parsed_keyframes(options.negative_keyframes, option="--negative-keyframe")
    fields = {
        "negative_prompts": negatives or travel.negatives or None,
        "prompts": travel.prompts or None,
        "interpolation": travel.interpolation,
        "hold": travel.hold,
        "closed_loop": travel.closed_loop,
    }
    given = options.request.values
    return {n: value for n, value in fields.items() if value is not None and n not in given}


def read_keyframes(options: AnimateOptions) -> Travel:
    """The keyframes of the options, from a file or one by one; there may be none.

    Raises:
        InputError: both are given, or one cannot be a keyframe.
        FileError: the file cannot be read, or a line of it cannot be what it should.
    """
    if options.travel is not None and options.keyframes:
        raise InputError("Give --prompts or --keyframe, but not both.")
    if options.travel is not None and not is_authors_config(options.travel):
        return read_travel_file(options.travel)
    return Travel(_parsed_keyframes(options.keyframes, option="--keyframe"))


def _parsed_keyframes(words: Sequence[str], *, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, sign, text = word.partition(":")
        if not sign:
            raise InputError(f"{option} {word!r:.40} has no text; write, for example, '8: a hare'.")
        if key.strip() in found:
            raise InputError(f"{option} {key.strip()} is given twice.")
        found[key.strip()] = text.strip()
    return found


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``128x128``.

    Raises:
        InputError: it is written differently.
    """
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip().lower())
    if match is None:
        raise InputError(f"--size {text} is not a size; write width x height, such as 128x128.")
    return int(match[1]), int(match[2])


def parse_seeds(words: Sequence[str]) -> list[dict[str, Any]]:
    """Seeds written one by one or with commas, each as the field it sets; none is one empty choice.

    Raises:
        InputError: a word is not a whole number, or there are more than 64.
    """
    parts = [part.strip() for word in words for part in word.split(",")]
    if len(parts) > MAX_SEEDS:
        raise InputError(f"{len(parts)} seeds were given, and at most {MAX_SEEDS} fit one command.")
    for part in parts:
        if not re.fullmatch(r"-?\d{1,100}", part):
            raise InputError(f"--seed {part!r:.60} is not a whole number.")
    seeds = [int(part) if part != "-1" else secrets.randbits(32) for part in parts]
    return [{"seed": seed} for seed in dict.fromkeys(seeds)] or [{}]
