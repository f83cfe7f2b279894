"""Take the page's screenshots for the documentation, with the built-in model.

    python recipes/page_pictures.py --docs docs/media

Starts `animatediff serve` with an empty folder, makes a few animations in Chromium as a person would,
and takes a picture of each page. Needs Playwright and an installed Chromium; takes some minutes of CPU.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from served import answers, serving

WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SHOWN = "a person running, 3d style"
OTHERS = ("a rocket, 3d style", "a butterfly, flat style", "grinning face, 3d style")


def wait(page: Page, expression: str, *, seconds: float = 900) -> None:
    """Wait until an expression is true; Playwright's own way needs what the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"{expression} did not become true within {seconds:g} s")
        page.wait_for_timeout(100)


def generate(page: Page, prompt: str, seed: int) -> None:
    """Write a prompt and a seed, and generate."""
    page.fill("#prompt", prompt)
    page.fill("[data-field=seed] input", str(seed))
    page.press("#prompt", "Control+Enter")
    page.wait_for_timeout(300)


def finished(page: Page, count: int) -> None:
    """Wait for so many completed jobs."""
    wait(page, f"document.querySelectorAll('.queue-row.completed').length >= {count}")


def picture(page: Page, path: Path) -> None:
    """Take a picture of what is in sight, when thumbnails and videos have been drawn."""
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    print(path)


def create(page: Page, url: str, docs: Path) -> None:
    """The Create page: a finished animation, prompts on the timeline, jobs that run and wait."""
    page.fill(".playhead", "0")
    page.click("[aria-label='Add to Prompts at the playhead']")
    page.keyboard.type("in the morning")
    page.fill(".playhead", "8")
    page.click("[aria-label='Add to Prompts at the playhead']")
    page.keyboard.type("at night")
    page.click(".queue-row.completed:has-text('person running') >> nth=0")
    page.evaluate("window.scrollTo(0, 0)")
    wait(page, "document.querySelector('.stage video')?.readyState >= 2")
    # Only now, or they would be completed before all of the above is on the page.
    for seed, prompt in enumerate(("a rocket, flat style", "a butterfly, 3d style")):
        order = {"request": {"prompt": prompt, "seed": seed}}
        httpx.post(f"{url}/api/v1/jobs", json=order).raise_for_status()
    wait(page, "document.querySelector('.queue-row.running progress')?.value > 0.3")
    picture(page, docs / "page-create.png")


def phone(browser: Browser, url: str, docs: Path) -> None:
    """The Create page on a phone with dark colours: a finished animation."""
    page = browser.new_context(
        viewport=PHONE, device_scale_factor=2, color_scheme="dark", has_touch=True
    ).new_page()
    page.goto(url)
    page.wait_for_selector(".queue-row.completed")
    page.fill("#prompt", SHOWN)
    page.click(".queue-row.completed:has-text('person running') >> nth=0")
    page.evaluate("window.scrollTo(0, 0)")
    picture(page, docs / "page-phone.png")
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, required=True)
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as url, sync_playwright() as started:
        while not answers(f"{url}/readyz"):
            time.sleep(0.2)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE)
        page.goto(url)
        page.wait_for_selector("#prompt")
        for number, prompt in enumerate(OTHERS):
            generate(page, prompt, number + 1)
        for seed in (7, 8):
            generate(page, SHOWN, seed)
        finished(page, len(OTHERS) + 2)
        phone(browser, url, given.docs)

        page.goto(f"{url}/#/gallery")
        page.wait_for_selector(".card")
        picture(page, given.docs / "page-gallery.png")

        page.goto(f"{url}/#/compare")
        page.wait_for_selector(".compare select")
        for side, place in enumerate(page.locator(".compare select").all()[:2]):
            place.select_option(index=side + 1)
        page.wait_for_timeout(1500)
        picture(page, given.docs / "page-compare.png")

        page.goto(f"{url}/#/create")
        page.fill("#prompt", "a rocket, 3d style")
        page.goto(f"{url}/#/grid")
        page.locator(".axis select").nth(0).select_option("guidance")
        page.locator(".axis input").nth(0).fill("2 | 5")
        page.locator(".axis select").nth(1).select_option("seed")
        page.locator(".axis input").nth(1).fill("1-2")
        page.click("text=Generate grid")
        wait(page, "document.querySelectorAll('button.cell').length === 4")
        picture(page, given.docs / "page-grid.png")

        page.goto(f"{url}/#/create")
        page.wait_for_selector("#prompt")
        page.fill("#prompt", SHOWN)
        create(page, url, given.docs)
        browser.close()


if __name__ == "__main__":
    main()
