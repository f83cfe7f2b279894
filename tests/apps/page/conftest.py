"""A browser and a served page; tests are skipped where no Chromium is installed."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.apps.page.service import Served, serving, settings_in

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HARMLESS = ("Failed to load resource",)
"""Console lines of answers such as 404, which the page shows as a sentence."""


@pytest.fixture(scope="session")
def browser() -> Generator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    (tmp_path / "runs").mkdir()
    (tmp_path / "datasets").mkdir()
    settings = replace(
        settings_in(tmp_path / "service"), runs=tmp_path / "runs", datasets=tmp_path / "datasets"
    )
    with serving(settings) as running:
        yield running


@pytest.fixture
def page(browser: Any, served: Served) -> Generator[Any]:
    """The page, opened and ready; the test fails if a script failed or the policy was violated."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console",
        lambda line: (
            wrong.append(line.text)
            if line.type == "error" and not line.text.startswith(HARMLESS)
            else None
        ),
    )
    opened.goto(served.url)
    opened.wait_for_selector("#prompt")
    yield opened
    context.close()
    assert wrong == []
