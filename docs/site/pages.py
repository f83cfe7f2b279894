"""Hooks of mkdocs: pages that are generated from the code instead of written by hand.

Commands and their options come from the command line itself, the API reference from the docstrings
(one page for each public module), the tutorial from its notebook, and the remaining pages from
files outside ``docs/``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from animatediff.apps import cli
from animatediff.apps.options import tables as option_tables

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "animatediff"
LEFT_OUT = ("apps", "builtin", "world")
"""Parts of the package without an API reference: commands have pages of their own, and the rest serves
the built-in model alone."""
OUTSIDE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "model-card.md": "src/animatediff/builtin/README.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site, and the file outside ``docs/`` that each is."""
TABLES = {"animate": option_tables.animate_tables, "train": option_tables.train_tables}
"""Commands whose options are declared with units and groups, and the function that lists them."""
HELP_WIDTH = "100"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    commands = [{command.name: command_path(command)} for command in cli.COMMANDS]
    rooms: dict[str, list[Mapping[str, str]]] = {}
    for name in modules():
        rooms.setdefault(name.split(".")[1] if "." in name else name, []).append(
            {name.removeprefix("animatediff."): f"api/{name}.md"}
        )
    api = [
        {room: pages if len(pages) > 1 else next(iter(pages[0].values()))}
        for room, pages in rooms.items()
    ]
    assert config.nav is not None
    config.nav[-1:-1] = [{"Paper, measured": paper_nav()}, {"Commands": commands}, {"API": api}]
    return config


def paper_nav() -> list[Mapping[str, str]]:
    """The pages that ``animatediff paper`` wrote, its index first."""
    names = sorted(path.name for path in (ROOT / "docs" / "paper").glob("*.md"))
    others = [name for name in names if name != "index.md"]
    titled = ((name, (ROOT / "docs" / "paper" / name).read_text("utf-8")) for name in others)
    return [
        {"Claims": "paper/index.md"},
        *({text.partition("\n")[0].removeprefix("# "): f"paper/{name}"} for name, text in titled),
    ]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link pages of the paper to the results that ``on_files`` adds to the site."""
    del config, files
    if page.file.src_uri.startswith("paper/"):
        return markdown.replace("](../../results/", "](../data/")
    return markdown


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages themselves."""
    for path, text in pages():
        files.append(File.generated(config, path, content=text))
    for path in sorted((ROOT / "results").rglob("*.json")):
        place = f"data/{path.relative_to(ROOT / 'results').as_posix()}"
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Every generated page: its path in the site, and its Markdown."""
    for command in cli.COMMANDS:
        yield command_path(command), command_page(command)
    for name in modules():
        yield f"api/{name}.md", f"# {name}\n\n::: {name}\n"
    for path, source in OUTSIDE.items():
        yield path, from_outside((ROOT / source).read_text(encoding="utf-8"))
    yield "tutorial.md", notebook_page(ROOT / "docs" / "tutorial.ipynb")


def modules() -> list[str]:
    """The dotted names of the modules that the API reference describes, the package first."""
    names: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[1] in LEFT_OUT or any(part.startswith("_") for part in parts[:-1]):
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not parts[-1].startswith("_"):
            names.append(".".join(parts))
    return sorted(names)


def command_path(command: cli.Command) -> str:
    """The place of a command's page in the site."""
    return f"reference/{command.name.replace(' ', '-')}.md"


def command_page(command: cli.Command) -> str:
    """The page of one command: what it does, and its options."""
    return f"# animatediff {command.name}\n\n{command.summary}\n\n{options_of(command)}"


def options_of(command: cli.Command) -> str:
    """The options of a command: tables where they are declared so, otherwise its ``--help``."""
    if command.name in TABLES:
        return TABLES[command.name](level=2)
    words = command.name.split()
    overview = help_of(*words)
    actions = re.search(r"^usage: .* \{([\w,-]+)\}$", overview, re.MULTILINE)
    if actions is None:
        return _block(overview)
    parts = (f"## {name}\n\n{_block(help_of(*words, name))}" for name in actions[1].split(","))
    return "\n\n".join(parts)


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def help_of(*words: str) -> str:
    """What ``animatediff WORDS --help`` prints, at a fixed width."""
    text = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = HELP_WIDTH
    try:
        with contextlib.redirect_stdout(text):
            cli.main([*words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()).rstrip()


def from_outside(text: str) -> str:
    """A page of the repository's root, with its links as the site has them."""
    for page, source in OUTSIDE.items():
        text = text.replace(f"]({source})", f"]({page})")
    return text.replace("](docs/", "](")


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text, its code, and no output."""
    notebook = nbformat.read(path, as_version=4)
    parts = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in notebook.cells
    ]
    return "\n\n".join(parts) + "\n"
