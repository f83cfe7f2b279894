"""Time from `animatediff serve` to the first animation that plays in a browser.

    python benchmarks/first_animation.py --rounds 2

Each round starts a server with an empty folder, opens the page in a fresh Chromium, types a prompt and
presses Ctrl + Enter, and waits until the video plays. Nothing is warmed up but the disk's cache. The
time the worker takes to load the model and to draw is listed apart: what remains is the page's and the
server's. Needs Playwright and an installed Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from datetime import datetime
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright
from served import answers, serving

PLAYS = """() => {
  const video = document.querySelector(".stage video");
  return Boolean(video) && video.readyState >= 2 && video.currentTime > 0;
}"""


def wait(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way needs what the page's policy forbids."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)


def model_seconds(job: dict[str, Any]) -> float:
    """How long the worker had a job."""
    begun, ended = (datetime.fromisoformat(job[key]) for key in ("started_at", "finished_at"))
    return (ended - begun).total_seconds()


def one_round(prompt: str) -> dict[str, float]:
    """Start everything once; the seconds since the start, and those of the model."""
    found: dict[str, float] = {}
    began = time.monotonic()

    def now(what: str) -> None:
        found[what] = round(time.monotonic() - began, 2)
        print(f"{found[what]:7.2f} s  {what}", flush=True)

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as url, sync_playwright() as started:
        while not answers(f"{url}/healthz"):
            time.sleep(0.02)
        now("server answers")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#prompt")
        now("page is ready")
        page.fill("#prompt", prompt)
        page.press("#prompt", "Control+Enter")
        page.wait_for_selector(".queue-row")
        now("job is queued")
        wait(page, PLAYS)
        now("animation plays")
        job = httpx.get(f"{url}/api/v1/jobs?limit=1").raise_for_status().json()["jobs"][0]
        browser.close()
    found["of it, loading the model and drawing"] = round(model_seconds(job), 2)
    rest = found["animation plays"] - found["of it, loading the model and drawing"]
    found["beside the model"] = round(rest, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--prompt", default="a person running, 3d style")
    given = parser.parse_args()
    for number in range(given.rounds):
        busy = os.getloadavg()[0]
        print(json.dumps({"round": number + 1, "load": busy, **one_round(given.prompt)}))


if __name__ == "__main__":
    main()
