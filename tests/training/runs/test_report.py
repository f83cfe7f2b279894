"""The report of a run: one page, with its curves and clips inside."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animatediff.training.runs.meters import METRICS
from animatediff.training.runs.report import CLIPS, MAX_CLIPS, smoothed, write_report
from animatediff.video import Video


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [
        {"step": s, "loss": 1 / s, "loss_t0": None, "loss_t1": 0.5, "norm": 2.0, "skipped": 1}
        for s in range(1, 21)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 21, "lo'
    (tmp_path / METRICS).write_text(text)
    (tmp_path / CLIPS).mkdir()
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    for step in (10, 20):
        Video(frames, Fraction(8)).save(tmp_path / CLIPS / f"step-{step:08d}-0.webp")
    return tmp_path


def test_the_page_holds_everything_and_asks_for_nothing(run: Path) -> None:
    page = write_report(run, title="<motion> & more", facts={"steps": 20}).read_text()
    assert page.count("<svg") == 3  # loss, by timestep, norm: only what there are numbers for
    assert page.count("data:image/webp;base64,") == 2
    assert "&lt;motion&gt; &amp; more" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "skipped: 1" in page
    points = re.findall(r'<polyline points="([^"]*)" stroke', page)
    assert len(points[0].split()) == 20


def test_the_page_of_a_run_that_just_began_is_a_page(tmp_path: Path) -> None:
    assert "nothing to see yet" in write_report(tmp_path, title="x", facts={}).read_text()
    (tmp_path / METRICS).write_text('{"step": 1, "loss": 0.0}\n')
    assert "<circle" in write_report(tmp_path, title="x", facts={}).read_text()


def test_of_many_clips_some_are_shown_and_the_last_among_them(run: Path) -> None:
    one = next((run / CLIPS).iterdir()).read_bytes()
    for step in range(100, 200):
        (run / CLIPS / f"step-{step:08d}-0.webp").write_bytes(one)
    page = write_report(run, title="x", facts={}).read_text()
    assert page.count("<figure>") == MAX_CLIPS
    assert "step-00000199-0" in page


def test_a_page_of_a_run_that_goes_on_reloads_itself_and_a_finished_one_does_not(run: Path) -> None:
    assert (
        'http-equiv="refresh"' in write_report(run, title="x", facts={}, running=True).read_text()
    )
    assert 'http-equiv="refresh"' not in write_report(run, title="x", facts={}).read_text()


def test_curves_are_smoothed_by_their_neighbours(run: Path) -> None:
    noisy = [(float(x), float(x % 2)) for x in range(100)]
    smooth = smoothed(noisy)
    assert [x for x, _ in smooth] == [x for x, _ in noisy]
    assert all(abs(y - 0.5) < 0.1 for _, y in smooth[5:-5])
    page = write_report(run, title="x", facts={}).read_text()
    assert page.count('class="smooth"') == page.count('class="raw"') == 3


def test_clips_of_one_prompt_stand_side_by_side(run: Path) -> None:
    one = next((run / CLIPS).iterdir()).read_bytes()
    for step in (10, 20):
        (run / CLIPS / f"step-{step:08d}-1.webp").write_bytes(one)
    rows = write_report(run, title="x", facts={}).read_text().split('<div class="clips">')[1:]
    assert [row.count("<figure>") for row in rows] == [2, 2]
