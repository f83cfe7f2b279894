"""One page that shows every request of a batch with its video, and what failed."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from animatediff.apps.many.plan import Item, Plan
from animatediff.apps.many.work import Outcome
from animatediff.errors import OutputError, reason_of
from animatediff.sampling.request import AnimationRequest

PAGE = "index.html"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:1.5rem}"
    "figure{margin:0}img,video{width:100%;background:#eee;image-rendering:auto}"
    "figcaption{overflow-wrap:anywhere}small{color:#555}.failed{color:#a00}"
)


def write_page(plan: Plan, *, outcome: Outcome, title: str) -> Path:
    """Write the page beside the videos; it is replaced whole.

    Raises:
        OutputError: it cannot be written.
    """
    path = plan.folder / PAGE
    temporary = plan.folder / f".{PAGE}.tmp"
    try:
        temporary.write_text(page_of(plan, outcome=outcome, title=title), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}.") from None
    return path


def page_of(plan: Plan, *, outcome: Outcome, title: str) -> str:
    """The page as HTML, without scripts and without anything from elsewhere."""
    shared = _shared(item.request for item in plan.items)
    done = {item.number for item in plan.items if plan.is_done(item)}
    failed = outcome.failures.keys() - done
    waiting = len(plan.items) - len(done) - len(failed)
    counts = f"{len(done)} done, {len(failed)} failed, {waiting} not drawn yet"
    figures = "\n".join(
        _figure(item, plan, outcome=outcome, is_done=item.number in done, shared=shared)
        for item in plan.items
    )
    told = ", ".join(f"{name} {value}" for name, value in shared.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p>{counts}.</p>"
        f"<p><small>{html.escape(f'All: {told}') if told else ''}</small></p>"
        f"<main>{figures}</main></body></html>\n"
    )


def _figure(
    item: Item, plan: Plan, *, outcome: Outcome, is_done: bool, shared: dict[str, str]
) -> str:
    caption = html.escape(item.request.prompt or next(iter(item.request.prompts.values()), ""))
    own = {k: v for k, v in _told(item.request).items() if k not in shared and k != "prompt"}
    facts = html.escape(", ".join(f"{name} {value}" for name, value in own.items()))
    picture, state = "", ""
    if is_done:
        paths = [plan.file(item, name) for name in item.names]
        picture = _shown(paths[0])
        links = " ".join(
            f'<a href="{quote(path.name)}">{html.escape(path.name)}</a>' for path in paths
        )
        seconds = outcome.seconds.get(item.number)
        state = links + (f" in {seconds:.1f} s" if seconds is not None else "")
    elif item.number in outcome.failures:
        state = f'<span class="failed">{html.escape(outcome.failures[item.number][0])}</span>'
    else:
        state = "not drawn yet"
    return (
        f"<figure>{picture}<figcaption>{item.number}. {caption}<br>"
        f"<small>{facts}</small><br><small>{state}</small></figcaption></figure>"
    )


def _shown(path: Path) -> str:
    if path.is_dir():
        first = quote(f"{path.name}/frame_0000.png")
        return f'<img src="{first}" alt="" loading="lazy">'
    name = quote(path.name)
    if path.suffix in (".mp4", ".webm"):
        return f'<video src="{name}" autoplay loop muted playsinline></video>'
    return f'<img src="{name}" alt="" loading="lazy">'


def _told(request: AnimationRequest) -> dict[str, str]:
    """What a request says that is not a default."""
    plain = AnimationRequest("").as_table()
    return {
        name: _text(value)
        for name, value in request.as_table().items()
        if name == "seed" or value != plain[name]
    }


def _shared(requests: Iterable[AnimationRequest]) -> dict[str, str]:
    """What all requests say alike."""
    first, *rest = [_told(request) for request in requests]
    return {
        name: value
        for name, value in first.items()
        if name != "prompt" and all(other.get(name) == value for other in rest)
    }


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
