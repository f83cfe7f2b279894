"""The page that shows whether a run learned: its curves and its clips, all in one file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from animatediff.training.runs.meters import METRICS, read_metrics, written_to

CLIPS = "clips"
"""Where in a run's folder its validation clips lie, named ``step-00000100-0.webp``."""
MAX_CLIPS = 40

_PLOTS: Mapping[str, tuple[str, ...]] = {
    "Loss": ("loss", "plain", "motion", "prior"),
    "Loss by timestep, from little noise (0) to much (3)": (
        "loss_t0",
        "loss_t1",
        "loss_t2",
        "loss_t3",
    ),
    "Motion energy: how much the guess moves, as a share of the clips": ("motion_energy",),
    "Norm of the gradient": ("norm",),
    "Learning rate": ("rate",),
}
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 220, 64, 24


def write_report(
    folder: Path, *, title: str, facts: Mapping[str, Any], running: bool = False
) -> Path:
    """Write ``report.html`` into a run's folder from its metrics and clips; returns the path.

    Args:
        folder: the run's.
        title: of the page.
        facts: how it is trained.
        running: whether the run continues, so that an open page reloads itself.

    Raises:
        OutputError: it cannot be written.
    """
    lines = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(lines)]
    for name, keys in _PLOTS.items():
        curves = {key: _points(lines, key) for key in keys}
        drawn = {key: points for key, points in curves.items() if points}
        if drawn:
            parts.append(f"<h2>{html.escape(name)}</h2>{_plot(drawn)}")
    clips = sorted((folder / CLIPS).glob("step-*.webp"))
    if clips:
        parts.append("<h2>Validation clips</h2>" + _side_by_side(_spread(clips)))
    facts_text = html.escape(json.dumps(dict(facts), indent=2, default=str))
    parts.append(f"<h2>How it was trained</h2><pre>{facts_text}</pre>")
    path = folder / "report.html"
    temporary = path.with_suffix(".tmp")
    with written_to(path):
        temporary.write_text(
            _PAGE.format(
                title=html.escape(title),
                body="\n".join(parts),
                reload='<meta http-equiv="refresh" content="20"/>' if running else "",
            )
        )
        temporary.replace(path)
    return path


def _summary(lines: Sequence[Mapping[str, Any]]) -> str:
    points = _points(lines, "loss")
    if len(points) < 2:
        return "<p>There is nothing to see yet.</p>"
    fifth = max(1, len(points) // 5)
    first, last = (
        sum(y for _, y in part) / len(part) for part in (points[:fifth], points[-fifth:])
    )
    change = f"; {100 * (last / first - 1):+.1f} %" if first else ""
    return (
        f"<p>Loss {first:.4g} in the first fifth, {last:.4g} in the last{change}. "
        f"Steps: {lines[-1]['step']}; skipped: {lines[-1].get('skipped', 0)}.</p>"
    )


def _points(lines: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(line["step"], line[key]) for line in lines if line.get(key) is not None]


def _plot(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Curves over the step, as inline SVG."""
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    left, right, low, high = min(xs), max(xs), min(0.0, *ys), max(ys)

    def at(x: float, y: float) -> str:
        across = _LEFT + (_WIDTH - _LEFT - 8) * (x - left) / ((right - left) or 1)
        up = (_HEIGHT - _BOTTOM - 12) * (y - low) / ((high - low) or 1)
        return f"{across:.1f},{_HEIGHT - _BOTTOM - up:.1f}"

    parts = [
        f'<text x="{_LEFT - 6}" y="18" text-anchor="end">{high:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{_HEIGHT - _BOTTOM}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">step {left:g}</text>',
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{right:g}</text>',
        f'<polyline class="axis" points="{at(left, high)} {at(left, low)} {at(right, low)}"/>',
    ]
    for index, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{path}" stroke="{colour}" class="raw"/>')
        smooth = " ".join(at(x, y) for x, y in smoothed(points))
        parts.append(f'<polyline class="smooth" points="{smooth}" stroke="{colour}"/>')
        if len(points) == 1:
            across, up = path.split(",")
            parts.append(f'<circle cx="{across}" cy="{up}" r="3" fill="{colour}"/>')
        parts.append(
            f'<text x="{_LEFT + 12 + 110 * index}" y="14" fill="{colour}">{html.escape(name)}</text>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A running mean over a twentieth of the curve on either side of each point."""
    reach = len(points) // 20
    found: list[tuple[float, float]] = []
    for index, (x, _) in enumerate(points):
        near = points[max(0, index - reach) : index + reach + 1]
        found.append((x, sum(y for _, y in near) / len(near)))
    return found


def _side_by_side(clips: Sequence[Path]) -> str:
    """A row for each prompt, its clips side by side in the order of their steps."""
    rows: dict[str, list[Path]] = {}
    for path in clips:
        rows.setdefault(path.stem.rpartition("-")[2], []).append(path)
    return "".join(
        f'<div class="clips">{"".join(_clip(path) for path in row)}</div>' for row in rows.values()
    )


def _spread(clips: Sequence[Path]) -> Sequence[Path]:
    """At most ``MAX_CLIPS``, evenly, the last among them."""
    if len(clips) <= MAX_CLIPS:
        return clips
    step = (len(clips) - 1) / (MAX_CLIPS - 1)
    return [clips[round(i * step)] for i in range(MAX_CLIPS)]


def _clip(path: Path) -> str:
    name = html.escape(path.stem)
    data = base64.b64encode(path.read_bytes()).decode()
    picture = f'<img src="data:image/webp;base64,{data}" alt="{name}"/>'
    return f"<figure>{picture}<figcaption>{name}</figcaption></figure>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"/>{reload}<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }}
svg {{ width: 100%; }} svg text {{ font: 11px system-ui, sans-serif; }}
polyline {{ fill: none; stroke-width: 1.5; }} .raw {{ opacity: 0.3; }}
.axis {{ stroke: #999; stroke-width: 1; }}
.clips {{ display: flex; gap: 8px; overflow-x: auto; }} figure {{ margin: 0; }}
figure img {{ width: 256px; height: auto; image-rendering: auto; }} figcaption {{ font-size: 11px; }}
pre {{ background: #f6f8fa; padding: 1em; overflow-x: auto; }}
</style></head><body>
{body}
</body></html>
"""
