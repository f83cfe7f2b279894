"""The page of Table 1, from its JSON: the table, the tests, and all animations side by side."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from animatediff.evaluation.presenting.html_page import html_page, html_table, write_text
from animatediff.evaluation.table1.plan import METHODS, OURS
from animatediff.evaluation.table1.report import FROZEN, REAL, SIGNIFICANT

Content = Mapping[str, Any]
"""What ``write_report`` wrote."""

REFERENCES = "references"
"""What the pictures of a prompt by the image model alone are called in ``media_name``."""
ASPECTS = ("text", "domain", "smooth")
_CONTROLS = (FROZEN, REAL)


def media_name(model: str, index: int, what: str) -> str:
    """Return the path of a file beside the page, such as ``media/noto-lora/03-animatediff.webp``."""
    return f"media/{file_name(model)}/{index:03}-{file_name(what)}.webp"


def driving_name(number: int) -> str:
    """Return the path of a driving clip beside the page."""
    return f"media/driving/{number:03}.webp"


def paper_table(
    content: Content, *, study: Content | None = None
) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table like the paper's Table 1, as plain text.

    The judge's columns carry its name: CLIP in the paper, the built-in scorer by default here.
    Average user ranks come from a study's report, and are a dash without one. The best
    method in each column has an asterisk, of those that have a clip of every prompt; controls and
    motion have none.
    """
    overall = content["report"]["overall"]
    ranks = study["report"]["ranks"] if study is not None else {}
    judge = main_judge(content)
    head = ["Method", *(f"User rank, {a}" for a in ASPECTS)]
    head += [f"{aspect.capitalize()} ({judge})" for aspect in ASPECTS]
    head += ["Flow, px", "Frozen"]
    partly = content["report"]["missing"]
    contest = [m for m in overall if m not in _CONTROLS and m not in partly]
    best = {
        a: max(contest, key=lambda m, a=a: _value(overall[m][a])) if contest else ""
        for a in ASPECTS
    }
    rows: list[list[str]] = []
    for method, estimates in overall.items():
        cells = [
            _interval(ranks.get(method, {}).get(aspect), 2) if ranks else "-" for aspect in ASPECTS
        ]
        for aspect in ASPECTS:
            text = _interval(estimates[aspect], 2)
            cells.append(f"{text} *" if best[aspect] == method else text)
        cells.append(_interval(estimates["flow"], 2))
        cells.append(f"{_value(estimates['frozen']):.1f} %")
        rows.append([method, *cells])
    return head, rows


def write_table1_page(
    content: Content, path: Path, *, json_path: Path, study: Content | None = None
) -> Path:
    """Write the page. Animations lie beside it in ``media/``.

    Args:
        content: what ``write_report`` wrote.
        path: of the page.
        json_path: of the JSON, which the page links to.
        study: the report of a user study, if one was run.

    Raises:
        OutputError: it cannot be written.
    """
    link = escape(os.path.relpath(json_path, path.parent))
    report = content["report"]
    command = escape(shlex.join(content["command"]))
    head, rows = paper_table(content, study=study)
    parts = [
        "<p>AnimateDiff and its baselines on the same prompts, seeds and driving clips "
        "(Sec. 5.2 of arXiv 2307.04725). Means with 95 % bootstrap intervals over prompts; an "
        "asterisk marks the best method of a column, of those with a clip of every prompt. A frozen "
        "video has the best smooth score, so motion stands beside it.</p>",
        f'<p>Every number is in <a href="{link}">{link}</a>, written by <code>{command}</code>.</p>',
        html_table(head, [[_with_small(cell) for cell in row] for row in rows]),
        f"<p><small>{escape(judges_note(content))} {escape(study_note(study))}</small></p>",
        "<h2>Orderings</h2>",
        _orders(report),
        "<h2>All columns</h2>",
        _full_table(report, report["overall"]),
        *(
            f"<h2>{escape(model)}</h2>{_full_table(report, table)}"
            for model, table in report["by_model"].items()
        ),
        "<h2>Paired tests</h2>",
        _tests(report),
        "<h2>How it was drawn</h2>",
        _facts(report),
        "<h2>Animations</h2>",
        *_animations(report),
    ]
    return write_text(html_page("Table 1", parts), path)


def main_judge(content: Content) -> str:
    """Return the name of the judge of a table's main columns."""
    return next(iter(content["report"]["judges"]))


def judges_note(content: Content) -> str:
    """Return a sentence on the networks that judged, with the beginning of their hashes."""
    judges = content["report"]["judges"]
    names = ", ".join(f"{name} ({digest[:16]})" for name, digest in judges.items())
    return f"Judged by {names}; the paper's judge is CLIP."


def study_note(study: Content | None) -> str:
    """Return a sentence on the user ranks of a table, as plain text."""
    if study is None:
        return (
            "User ranks are a dash: no study has been run. `animatediff study make` makes its page."
        )
    report = study["report"]
    made_up = f", {report['fixtures']} of them made up for a test" if report["fixtures"] else ""
    return (
        f"User ranks are means of {report['participants']} participants{made_up}; "
        f"{len(report['ranks'])} is best."
    )


def _orders(report: Content) -> str:
    if not report["orders"]:
        return "<p>Not all three methods were drawn.</p>"
    tests = {(each["column"], each["second"]): each["result"] for each in report["comparisons"]}
    rows: list[list[str]] = []
    for order in report["orders"]:
        clear = [
            second
            for (column, second), result in tests.items()
            if column == order["column"] and result["p_holm"] < SIGNIFICANT and second in METHODS
        ]
        rows.append(
            [
                escape(order["column"]),
                escape(" > ".join(order["paper"])),
                escape(" > ".join(order["ours"])),
                "agrees" if order["agrees"] else "differs",
                escape(", ".join(clear) or "no method"),
            ]
        )
    head = ["Column", "Paper", "Here", "", "AnimateDiff differs (Holm p < 0.05) from"]
    return html_table(head, rows)


def _full_table(report: Content, table: Content) -> str:
    columns = [c for c in report["columns"] if any(_known(e[c[0]]) for e in table.values())]
    rows = [
        [
            escape(method),
            *(_with_small(_interval(estimates[key], digits)) for key, _, digits in columns),
        ]
        for method, estimates in table.items()
    ]
    return html_table(["Method", *(escape(title) for _, title, _ in columns)], rows)


def _tests(report: Content) -> str:
    rows = [
        [
            escape(f"{each['first']} - {each['second']}"),
            escape(each["column"]),
            _with_small(_interval(each["result"]["difference"], 3)),
            f"{each['result']['wins']['count']} of {each['result']['wins']['total']}",
            f"{each['result']['p']:.4f}",
            f"{each['result']['p_holm']:.4f}",
        ]
        for each in report["comparisons"]
    ]
    head = ["Pair", "Column", "Mean difference", "Higher", "p (sign flips)", "p (Holm)"]
    return html_table(head, rows)


def _facts(report: Content) -> str:
    plan = report["plan"]
    lines = [f"{key} = {value}" for key, value in plan["settings"].items()]
    lines += [f"judge: {name} ({digest[:16]})" for name, digest in report["judges"].items()]
    lines.append(f"optical flow: {report['flow']}")
    lines += [
        f"model {m['name']}: {m['model']}, LoRAs {m['loras']}, embeddings {m['embeddings']}, "
        f"motion {m['motion']}, {len(m['prompts'])} prompts with the driving clips "
        + " ".join(map(str, _clip_numbers(m, len(plan["clips"]))))
        for m in plan["models"]
    ]
    lines += [f"driving clip {i}: {clip['caption']}" for i, clip in enumerate(plan["clips"])]
    lines += [
        f"{name}: no clip for {len(prompts)} prompts" for name, prompts in report["missing"].items()
    ]
    frozen = report.get("frozen", OURS)
    lines.append(f"{FROZEN}: the first frame of each clip of {frozen}, held still")
    lines.append("Tune-A-Video is tuned once for each model and driving clip.")
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _animations(report: Content) -> list[str]:
    clips = report["plan"]["clips"]
    methods = [m for m in report["overall"] if m not in _CONTROLS]
    drawn = {(c["method"], c["model"], c["index"]) for c in report["clips"]}
    parts: list[str] = []
    for model in report["plan"]["models"]:
        name, prompts = model["name"], model["prompts"]
        numbers = _clip_numbers(model, len(clips))
        rows: list[list[str]] = []
        for index, prompt in enumerate(prompts):
            cells = [f'<td class="words">{escape(prompt)}</td>']
            cells += [
                _image(media_name(name, index, method)) if (method, name, index) in drawn else "-"
                for method in methods
            ]
            cells.append(_image(driving_name(numbers[index])))
            cells.append(_image(media_name(name, index, REFERENCES)))
            rows.append(cells)
        head = ["Prompt", *(escape(m) for m in methods), "Driving clip", "References"]
        parts.append(f"<h3>{escape(name)}</h3>{html_table(head, rows)}")
    return parts


def _clip_numbers(model: Content, clips: int) -> list[int]:
    """Return the number of each prompt's driving clip; results of before do not name them."""
    count = len(model["prompts"])
    return model.get("driving") or [index * clips // count for index in range(count)]


def _image(name: str) -> str:
    return f'<img loading="lazy" alt="" src="{escape(name)}">'


def _known(estimate: Content) -> bool:
    return estimate["value"] is not None


def _value(estimate: Content) -> float:
    return float("-inf") if estimate["value"] is None else float(estimate["value"])


def _interval(estimate: Content | None, digits: int) -> str:
    if estimate is None or estimate["value"] is None:
        return "-"
    value, low, high = (f"{estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _with_small(cell: str) -> str:
    """Return a cell as HTML, with its interval small and below."""
    match = re.fullmatch(r"(\S+) (\([^)]*\))( \*)?", cell)
    if match is None:
        return escape(cell)
    text = f"{match[1]}{match[3] or ''}<br><small>{match[2]}</small>"
    return f'<td class="best">{text}</td>' if match[3] else text


def file_name(text: str) -> str:
    """Return a name for files and folders: letters, digits and hyphens."""
    return "-".join(re.findall(r"\w+", text.lower())) or "model"
