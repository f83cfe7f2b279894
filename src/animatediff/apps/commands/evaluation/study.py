"""``animatediff study``: a user study of Table 1's animations, from the page to the ranks."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from animatediff.apps.destination import check_room


@dataclass(frozen=True)
class MakeOptions:
    """Make the study's page from the results of `animatediff evaluate table1`.

    STUDY/study.html is one file that works by itself. STUDY/key.json names the methods: keep it.
    """

    study: Annotated[Positional[Path], arg(metavar="STUDY")]
    """The folder to make."""
    results: Path = Path("results")
    """The folder with table1.json and table1/."""
    per_model: int = 5
    """Prompts of each personalised model."""
    methods: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ()
    """Methods to rank; the default is all that were drawn."""
    seed: int = 0
    """Seed of the choice of prompts."""


@dataclass(frozen=True)
class ServeOptions:
    """Serve the page and receive answers; the key is not served."""

    study: Annotated[Positional[Path], arg(metavar="STUDY")]
    """The study's folder."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 is every one of this machine."""
    port: int = 8765
    """Port to listen at; 0 chooses a free one."""


@dataclass(frozen=True)
class CollectOptions:
    """Add answers that participants sent as files."""

    study: Annotated[Positional[Path], arg(metavar="STUDY")]
    """The study's folder."""
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE...")]
    """Files that the page saved."""


@dataclass(frozen=True)
class ReportOptions:
    """Compute average user ranks; write RESULTS/study.json, and the page of Table 1 again."""

    study: Annotated[Positional[Path], arg(metavar="STUDY")]
    """The study's folder."""
    results: Path = Path("results")
    """The folder for results."""


StudyOptions = (
    Annotated[MakeOptions, subcommand("make")]
    | Annotated[ServeOptions, subcommand("serve")]
    | Annotated[CollectOptions, subcommand("collect")]
    | Annotated[ReportOptions, subcommand("report")]
)


def study(chosen: StudyOptions) -> int:
    """Make, serve, collect or report a study.

    Raises:
        InputError, FileError, OutputError: see ``errors.py``.
    """
    if isinstance(chosen, MakeOptions):
        return _make(chosen)
    if isinstance(chosen, ServeOptions):
        return _serve(chosen)
    if isinstance(chosen, CollectOptions):
        return _collect(chosen)
    return _report(chosen)


def _make(options: MakeOptions) -> int:
    from animatediff.errors import FileError, InputError
    from animatediff.evaluation.study.design import KEY, design_study, save_key
    from animatediff.evaluation.study.page import write_study_page

    check_room(options.study / KEY, option="STUDY")
    if (options.study / KEY).exists():
        raise InputError(
            f"{options.study} already has a study, whose answers would lose their key; choose "
            "another folder."
        )
    content = _table1(options.results)
    try:
        made = design_study(
            content, per_model=options.per_model, methods=options.methods, seed=options.seed
        )
    except (AttributeError, KeyError, TypeError):
        raise FileError(
            f"{options.results / 'table1.json'} lacks what a study shows; run `animatediff evaluate "
            "table1` again."
        ) from None
    page = write_study_page(made, options.study, animations=options.results / "table1")
    save_key(made, options.study)
    print(
        f"{page}: {len(made.items)} prompts and an attention check, {len(made.methods)} methods. "
        f"Keep {options.study / KEY} to yourself."
    )
    return 0


def _table1(results: Path) -> dict[str, object]:
    from animatediff.errors import FileError

    path = results / "table1.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FileError(
            f"{path} is not there or broken; run `animatediff evaluate table1` first."
        ) from None
    return content


def _serve(options: ServeOptions) -> int:
    from animatediff.apps.study_server import serve_study

    serve_study(
        options.study,
        host=options.host,
        port=options.port,
        listening=lambda url: print(f"The study is at {url} until Ctrl+C.", flush=True),
    )
    return 0


def _collect(options: CollectOptions) -> int:
    from animatediff.errors import FileError
    from animatediff.evaluation.study.answers import collected, read_answers, read_file
    from animatediff.evaluation.study.design import ANSWERS, load_key

    key = load_key(options.study)
    refused: list[str] = []
    for path in options.files:
        try:
            text = read_file(path)
            person = read_answers(text, key, source=str(path))
        except FileError as error:
            refused.append(str(error))
            continue
        keep_answers(text, options.study / ANSWERS / f"{person.name}.json")
    people = collected(options.study, key)
    print(f"{len(people)} participants, {sum(p.attentive for p in people)} of them attentive.")
    if refused:
        raise FileError(" ".join(refused))
    return 0


def keep_answers(text: bytes, path: Path) -> None:
    """Store a participant's answers. The same participant again replaces the earlier ones.

    Raises:
        OutputError: they cannot be written.
    """
    from animatediff.evaluation.presenting.html_page import write_text

    write_text(text.decode("utf-8"), path)


def _report(options: ReportOptions) -> int:
    from animatediff.evaluation.presenting.tables import render_rows
    from animatediff.evaluation.reports import write_report
    from animatediff.evaluation.study.answers import collected
    from animatediff.evaluation.study.design import load_key
    from animatediff.evaluation.study.report import report_study

    path = options.results / "study.json"
    check_room(path, option="--results")
    key = load_key(options.study)
    report = report_study(key, collected(options.study, key))
    write_report(
        report, path, question="study", command=["animatediff", *sys.argv[1:]], options=options
    )
    print(f"{render_rows(report.rows())}\n\n{path}")
    if (options.results / "table1.json").exists():
        print(_table1_page(options.results))
    return 0


def _table1_page(results: Path) -> Path:
    """Write the page of Table 1 again, with the user ranks."""
    from animatediff.errors import FileError
    from animatediff.evaluation.paper.experiments import read_result
    from animatediff.evaluation.table1.page import write_table1_page

    path = results / "table1.json"
    content, study = read_result(path), read_result(results / "study.json")
    try:
        return write_table1_page(
            content, results / "table1" / "index.html", json_path=path, study=study
        )
    except (KeyError, TypeError):
        raise FileError(
            f"{path} lacks what its page shows; the user ranks are in {results / 'study.json'}. "
            "Run `animatediff evaluate table1` again."
        ) from None
