"""Write the pages of the paper's experiments from results, with charts, byte for byte the same."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from animatediff.errors import FileError
from animatediff.evaluation.paper.charts import CHARTS
from animatediff.evaluation.paper.claims import CLAIMS, Claim, Finding
from animatediff.evaluation.paper.draw import write_chart
from animatediff.evaluation.paper.experiments import (
    EXPERIMENTS,
    Experiment,
    find_result,
    read_result,
)
from animatediff.evaluation.presenting.html_page import write_text
from animatediff.evaluation.presenting.tables import render_rows
from animatediff.evaluation.reports import Row
from animatediff.evaluation.table1.page import judges_note, paper_table, study_note

VERDICTS = {True: "agrees", False: "differs", None: "open"}
NOT_MEASURED = "not measured"
_GENERATED = (
    "<!-- Written by `animatediff paper` from results. Change the results or the code, "
    "not this file. -->"
)


def write_paper(results: Path, folder: Path) -> list[Path]:
    """Write an index of the claims and a page with a chart for each experiment.

    Args:
        results: the folder of results.
        folder: of the pages; files that this does not write are left alone.

    Raises:
        FileError: a result is broken.
        InputError: matplotlib is not installed.
        OutputError: a page cannot be written.
    """
    written: list[Path] = []
    paths = {each.name: path for each in EXPERIMENTS if (path := find_result(each, results))}
    contents = {name: read_result(path) for name, path in paths.items()}
    for experiment in EXPERIMENTS:
        if experiment.name in contents:
            written += write_experiment(
                experiment,
                folder,
                result=paths[experiment.name],
                content=contents[experiment.name],
                results=results,
                study=contents.get("study"),
            )
    return [write_text(_index(contents), folder / "index.md"), *written]


def write_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    result: Path,
    content: Mapping[str, Any],
    results: Path,
    study: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write one experiment's page and chart.

    Args:
        experiment: the experiment.
        folder: of the page.
        result: the file with its results.
        content: what the file contains.
        results: the folder of results.
        study: the results of the user study, whose ranks the page of Table 1 shows.

    Raises:
        FileError: the result lacks what the page shows.
        InputError: matplotlib is not installed.
        OutputError: a page cannot be written.
    """
    written: list[Path] = []
    try:
        parts = _parts(
            experiment, content, result=result, folder=folder, results=results, study=study
        )
        if experiment.name in CHARTS:
            chart = CHARTS[experiment.name](content)
            written += write_chart(chart, folder / f"{experiment.name}.svg")
    except (KeyError, TypeError, StopIteration, IndexError, ValueError):
        raise FileError(
            f"{result} lacks what the page of {experiment.name} shows; measure again with "
            f"`{experiment.command}`."
        ) from None
    page = write_text("\n\n".join(parts) + "\n", folder / f"{experiment.name}.md")
    return [page, *written]


def _parts(
    experiment: Experiment,
    content: Mapping[str, Any],
    *,
    result: Path,
    folder: Path,
    results: Path,
    study: Mapping[str, Any] | None,
) -> list[str]:
    link = Path(os.path.relpath(result, folder)).as_posix()
    name = result.relative_to(results).as_posix()
    parts = [f"# {experiment.title}", _GENERATED, experiment.question]
    found = [(c, _finding(c, content)) for c in CLAIMS if c.experiment == experiment.name]
    if found:
        parts.append(_claims_table(found))
    parts += [
        f"{claim.text} Why it may differ: {claim.if_not}"
        for claim, finding in found
        if finding is not None and finding.agrees is False and claim.if_not
    ]
    if experiment.name in CHARTS:
        alt = f"Chart: {experiment.title}"
        parts.append(
            f"![{alt}]({experiment.name}.svg#only-light)"
            f"\n![{alt}]({experiment.name}-dark.svg#only-dark)"
        )
    if experiment.name == "table1":
        head, rows = paper_table(content, study=study)
        parts.append(_markdown(head, rows))
        parts.append(
            f"{judges_note(content)} An asterisk marks the best method of a column, of those "
            f"with a clip of every prompt. {study_note(study)} A frozen video has the best smooth "
            "score, so the flow stands beside it."
        )
    parts.append("## All numbers")
    parts.append(render_rows(Row(**row) for row in content["rows"]))
    if content.get("facts"):
        parts.append(_markdown(["fact", "value"], [[k, v] for k, v in content["facts"].items()]))
    command = shlex.join(content["command"])
    parts.append(f"Results: [results/{name}]({link}), written by\n\n```bash\n{command}\n```")
    return parts


def _index(contents: Mapping[str, Mapping[str, Any]]) -> str:
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    lines = [
        "| section | claim of the paper | our number (95 % interval) | verdict |",
        "| --- | --- | --- | --- |",
    ]
    for claim in CLAIMS:
        content = contents.get(claim.experiment)
        finding = None if content is None else _finding(claim, content)
        if finding is None:
            measured = f"run `{by_name[claim.experiment].command}`"
            verdict = NOT_MEASURED
        else:
            measured, verdict = finding.measured, VERDICTS[finding.agrees]
        name = by_name[claim.experiment].title
        page = f"[{name}]({claim.experiment}.md)" if content is not None else name
        cells = (claim.section, f"{claim.text} {page}", measured, verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return (
        "\n\n".join(
            [
                "# The paper's claims, measured",
                _GENERATED,
                "Each claim of the paper (arXiv 2307.04725) with the number of the built-in world. "
                "*Agrees* and *differs* compare the direction of an effect with the paper's, not its "
                "size: models, data and judges are much smaller here. *Open* means that the interval "
                "includes no effect. `recipes/reproduce.sh` makes all of it again.",
                "\n".join(lines),
            ]
        )
        + "\n"
    )


def _finding(claim: Claim, content: Mapping[str, Any]) -> Finding | None:
    try:
        return claim.find(content)
    except (KeyError, TypeError):
        raise FileError(
            f"The results of {claim.experiment} lack a number that the claim {claim.text!r} needs; "
            "measure them again."
        ) from None


def _claims_table(found: list[tuple[Claim, Finding | None]]) -> str:
    rows = [
        [
            claim.text,
            NOT_MEASURED if finding is None else finding.measured,
            NOT_MEASURED if finding is None else VERDICTS[finding.agrees],
        ]
        for claim, finding in found
    ]
    return _markdown(["claim", "measured", "verdict"], rows)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
