"""The chart of each experiment, from the JSON that its command wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from animatediff.evaluation.paper.chart import (
    Chart,
    Panel,
    Point,
    Series,
    Varied,
    number_in,
    point,
)
from animatediff.evaluation.table1.page import main_judge
from animatediff.evaluation.table1.plan import CARRIED
from animatediff.evaluation.table1.report import FROZEN, REAL

Content = Mapping[str, Any]
"""What ``write_report`` wrote."""


def table1(content: Content) -> Chart:
    """The main judge's columns and the flow of each method."""
    report = content["report"]
    titles = {key: title for key, title, _ in report["columns"]}

    def panel(key: str, y_label: str) -> Panel:
        points = tuple(
            point(_short(method), estimates[key])
            for method, estimates in report["overall"].items()
            if method != REAL and estimates[key]["value"] is not None
        )
        real = report["overall"].get(REAL, {}).get(key, {"value": None})
        reference = None if real["value"] is None else (real["value"], REAL)
        return Panel(titles[key], "", y_label, (Series("mean", points),), reference)

    cosine = f"100 x cosine, {main_judge(content)}"
    return Chart(
        (
            panel("text", cosine),
            panel("domain", cosine),
            panel("smooth", cosine),
            panel("flow", "px per 1/8 s"),
        )
    )


def adapter(content: Content) -> Chart:
    """Watermark, text score and recognised concepts over the adapter's scale (Fig. 6)."""
    by_alpha = {float(a): marks for a, marks in content["report"]["by_alpha"].items()}
    unadapted = content["report"]["unadapted"]
    label = "scale of the adapter"

    def panel(key: str, title: str, y_label: str, *, percent: bool) -> Panel | None:
        if any(marks.get(key) is None for marks in by_alpha.values()):
            return None
        points = tuple(point(a, marks[key], percent=percent) for a, marks in by_alpha.items())
        reference = None
        if unadapted is not None and unadapted.get(key) is not None:
            without = point(0, unadapted[key], percent=percent)
            reference = (without.value, "trained without")
        return Panel(title, label, y_label, (Series("adapter", points),), reference, falling=True)

    panels = (
        panel("marked", "Frames with the watermark", "%", percent=True),
        panel("flow", "Flow", "px per 1/8 s", percent=False),
        panel("text", "Text score", "100 x cosine", percent=False),
        panel("recognised", "Concept recognised", "% of frames", percent=True),
    )
    return Chart(tuple(each for each in panels if each is not None))


def module(content: Content) -> Chart:
    """Transformer and convolution beside the real clips (Sec. 5.3)."""
    report = content["report"]

    def panel(key: str, title: str, y_label: str, *, percent: bool = False) -> Panel:
        names = {"Transformer": "transformer", "convolution": "convolution"}
        points = tuple(point(n, report[k][key], percent=percent) for n, k in names.items())
        real = point(0, report["real"][key], percent=percent)
        return Panel(title, "", y_label, (Series("model", points),), (real.value, "real clips"))

    return Chart(
        (
            panel("flow", "Flow", "px per 1/8 s"),
            panel("frozen", "Frozen", "% of animations", percent=True),
            panel("text", "Text score", "100 x cosine"),
            panel("smooth", "Smooth", "100 x cosine"),
        )
    )


def motion_lora(content: Content, *, varied: Varied) -> Chart:
    """Direction, rate and quality of several MotionLoRAs (Fig. 7).

    Args:
        content: the results.
        varied: what differs between the MotionLoRAs. Where names say it, others are left out.
    """
    moves: Mapping[str, Any] = content["report"]["moves"]
    known = {n: m for n, m in moves.items() if number_in(n, varied) is not None}
    moves = known or moves
    numbers = {float(number) for n in known if (number := number_in(n, varied)) is not None}
    log = len(numbers) == len(moves) > 1
    xs = [float(number_in(n, varied) or 0) for n in moves] if log else list(moves)
    label = {"rank": "rank", "clips": "number of clips"}[varied] if log else ""

    def panel(title: str, y_label: str, series: dict[str, list[Point]], **how: Any) -> Panel:
        drawn = tuple(Series(name, tuple(points)) for name, points in series.items() if points)
        return Panel(title, label, y_label, drawn, log=log, reference=how.get("reference"))

    pairs = list(zip(xs, moves.values(), strict=True))
    sized = [
        Point(
            x,
            m["size"],
            m["rate"]["low"] / m["learned_rate"]["value"],
            m["rate"]["high"] / m["learned_rate"]["value"],
        )
        for x, m in pairs
    ]
    panels = [
        panel(
            "Moves in the direction",
            "% of prompts",
            {
                "with": [point(x, m["asked_way"], percent=True) for x, m in pairs],
                "without": [point(x, m["base_asked_way"], percent=True) for x, m in pairs],
            },
        ),
        panel(
            "Rate",
            "of the training clips'",
            {"rate": sized},
            reference=(1.0, "training clips"),
        ),
    ]
    if all(m.get("text") is not None for m in moves.values()):
        text = {"text": [point(x, m["text"]) for x, m in pairs]}
        shows = {"recognised": [point(x, m["recognised"], percent=True) for x, m in pairs]}
        panels.append(panel("Text score", "100 x cosine", text))
        panels.append(panel("Concept recognised", "% of frames", shows))
    return Chart(tuple(panels))


def composition(content: Content) -> Chart:
    """The rates of two MotionLoRAs alone and together."""
    report = content["report"]
    (name, pair), *_ = report["together"].items()
    panels: list[Panel] = []
    for pattern, rate in pair["rates"].items():
        alone = next(m for m in report["moves"].values() if m["pattern"] == pattern)
        points = (point("alone", alone["rate"]), point("together", rate))
        series = (Series("rate", points),)
        panels.append(Panel(f"{pattern} in {name}", "", "rate per second", series, (0, "still")))
    return Chart(tuple(panels))


def control(content: Content) -> Chart:
    """Agreement with a sequence of hints, with and without control (Sec. 5.4)."""
    marks = content["report"]["hinted"]
    points = (
        point("with", marks["agreement"]),
        point("without", marks["free"]),
        point("another\norder", marks["shuffled"]),
    )
    lines = Panel("Lines of the hints", "", "F-score", (Series("control", points),))
    text = (point("with", marks["text"]),)
    score = Panel(
        "Text score", "", "of that without control", (Series("control", text),), (1.0, "without")
    )
    return Chart((lines, score))


CHARTS: Mapping[str, Callable[[Content], Chart]] = {
    "table1": table1,
    "adapter": adapter,
    "module": module,
    "motion-lora-rank": partial(motion_lora, varied="rank"),
    "motion-lora-clips": partial(motion_lora, varied="clips"),
    "composition": composition,
    "control": control,
}
"""The function that makes the chart of each experiment."""


def _short(method: str) -> str:
    return {
        "Text2Video-Zero": "T2V-Zero",
        "Tune-A-Video": "Tune-A-V.",
        "AnimateDiff": "Animate-\nDiff",
        CARRIED: "carried",
        FROZEN: "frozen",
    }.get(method, method)
