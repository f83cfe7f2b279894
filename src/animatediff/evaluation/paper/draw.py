"""Draw charts with matplotlib, light and dark, in one style; the same chart is the same bytes."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from animatediff.errors import InputError
from animatediff.evaluation.paper.chart import Chart, Panel, Series
from animatediff.evaluation.presenting.html_page import write_text

Theme = Literal["light", "dark"]
THEMES: Mapping[Theme, Mapping[str, str]] = {
    "light": {"ink": "#1c2128", "paper": "#ffffff", "soft": "#57606a", "line": "#d0d7de"},
    "dark": {"ink": "#e6e6e6", "paper": "#14171a", "soft": "#9aa4ae", "line": "#343b42"},
}
COLOURS: Mapping[Theme, tuple[str, ...]] = {
    "light": ("#0b5cad", "#b35900", "#2b7a0b", "#8a3ffc", "#57606a"),
    "dark": ("#7db8ff", "#ffb067", "#8fd46f", "#c8a2ff", "#9aa4ae"),
}
MARKERS = "osD^v"
WIDTH, HEIGHT = 3.4, 2.9
"""Inches of one panel."""


def require_matplotlib() -> None:
    """Raise unless plots can be drawn, before anything takes long.

    Raises:
        InputError: matplotlib is not installed.
    """
    _matplotlib()


def _matplotlib() -> Any:
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise InputError(
            "Plots need the package matplotlib; install the extra `figures`."
        ) from None
    return importlib.import_module("matplotlib.figure"), importlib.import_module("matplotlib")


def svg_of(chart: Chart, *, theme: Theme) -> str:
    """Return a chart as SVG, without the date or anything else that changes.

    Raises:
        InputError: matplotlib is not installed.
    """
    figures, matplotlib = _matplotlib()
    look = THEMES[theme]
    settings = {
        "svg.hashsalt": "animatediff",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9,
        "text.color": look["ink"],
        "axes.labelcolor": look["ink"],
        "axes.edgecolor": look["soft"],
        "xtick.color": look["soft"],
        "ytick.color": look["soft"],
        "axes.facecolor": look["paper"],
        "figure.facecolor": look["paper"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    with matplotlib.rc_context(settings):
        count = len(chart.panels)
        figure = figures.Figure(figsize=(WIDTH * count, HEIGHT), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        for place, panel in zip(axes, chart.panels, strict=True):
            _draw(place, panel, theme=theme)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib ends some lines with spaces.
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def write_chart(chart: Chart, path: Path) -> tuple[Path, Path]:
    """Write ``NAME.svg`` and ``NAME-dark.svg``.

    Raises:
        InputError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    dark = path.with_name(f"{path.stem}-dark{path.suffix}")
    return (
        write_text(svg_of(chart, theme="light"), path),
        write_text(svg_of(chart, theme="dark"), dark),
    )


def _draw(axes: Any, panel: Panel, *, theme: Theme) -> None:
    look, colours = THEMES[theme], COLOURS[theme]
    named = any(isinstance(p.x, str) for series in panel.series for p in series.points)
    names = list(dict.fromkeys(str(p.x) for series in panel.series for p in series.points))
    axes.grid(visible=True, axis="y", color=look["line"], linewidth=0.6)
    axes.set_axisbelow(True)
    for number, series in enumerate(panel.series):
        _draw_series(
            axes,
            series,
            names=names if named else None,
            shift=0.16 * (number - (len(panel.series) - 1) / 2),
            colour=colours[number % len(colours)],
            marker=MARKERS[number % len(MARKERS)],
            label=series.name if len(panel.series) > 1 else "_nolegend_",
        )
    if panel.reference is not None:
        value, name = panel.reference
        axes.axhline(value, color=look["soft"], linewidth=1, linestyle="--", label=name)
    if named:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.6, len(names) - 0.4)
    else:
        xs = sorted({float(p.x) for series in panel.series for p in series.points})
        if panel.log:
            axes.set_xscale("log", base=2)
            axes.minorticks_off()
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        if panel.falling:
            axes.invert_xaxis()
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if len(panel.series) > 1 or panel.reference is not None:
        axes.legend()


def _draw_series(
    axes: Any,
    series: Series,
    *,
    names: list[str] | None,
    shift: float,
    colour: str,
    marker: str,
    label: str,
) -> None:
    xs = [float(p.x) if names is None else names.index(str(p.x)) + shift for p in series.points]
    values = [p.value for p in series.points]
    errors = [
        [max(0.0, p.value - p.low) for p in series.points],
        [max(0.0, p.high - p.value) for p in series.points],
    ]
    axes.errorbar(
        xs,
        values,
        yerr=errors,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.5 if names is None else 0,
        elinewidth=1.2,
        capsize=3,
        label=label,
    )
