"""Self-contained HTML pages in one style, light and dark: no scripts, fonts or files from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from animatediff.errors import OutputError, reason_of

CSS = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #ffffff; --soft: #57606a;
  --line: #d0d7de; --shade: #f3f4f6; --strong: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #14171a;
  --soft: #9aa4ae; --line: #343b42; --shade: #1d2226; --strong: #7db8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 78rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid var(--ink); }
td small, p small { color: var(--soft); }
td.best { font-weight: 700; color: var(--strong); }
td.words { white-space: normal; text-align: left; min-width: 9rem; max-width: 16rem; }
img { max-width: 100%; display: block; border: 1px solid var(--line); background: #fff; }
code, pre { background: var(--shade); padding: .1rem .3rem; font-size: .85rem; }
pre { padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
a { color: var(--strong); }
""".strip()


def html_page(title: str, parts: Iterable[str], *, script: str = "") -> str:
    """Return a whole page from its parts, which are HTML already."""
    code = f"<script>{script}</script>" if script else ""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}\n</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n{code}</body></html>\n"
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Cells are HTML already; a cell may be a whole ``<td>``."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = (
        "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    inner = f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def write_text(text: str, path: Path) -> Path:
    """Write a page. The file is complete or absent.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {reason_of(error)}.") from None
    return path
