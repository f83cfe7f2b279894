"""Documents tell the truth: the files they name exist, and their numbers were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([\w./*-]+/[\w./*-]*)`")
ROOMS = "apps data evaluation finishing model sampling training video weights world options".split()


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path):
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        generated = link.endswith(("tutorial.md", "model-card.md")) or "reference/" in link
        assert generated or (path.parent / link).exists(), link


@pytest.mark.parametrize(
    "name", ["README.md", "docs/paper.md", "docs/log.md", "docs/guides/files.md"]
)
def test_every_source_file_that_a_document_names_exists(name: str):
    for code in CODE.findall((ROOT / name).read_text(encoding="utf-8")):
        room, _, rest = code.partition("/")
        if room not in ROOMS or not rest.endswith((".py", ".toml")):
            continue
        homes = [ROOT / "src" / "animatediff" / code, ROOT / "tests" / code]
        assert any(home.exists() for home in homes), code


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_installs_from_an_index_before_the_package_is_published(path: Path):
    assert not re.search(r"pip install '?animatediff", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    [
        "pictures",
        "motion",
        "transfer",
        "few/transfer",
        "rival/motion",
        "adapter",
        "single-clip",
        "control",
        "shape/control",
    ],
)
def test_the_results_page_has_the_numbers_that_were_measured(name: str):
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    for row in results["rows"]:
        if row["met"] is not None:
            assert row["measured"].split(" ")[0] in page, row
