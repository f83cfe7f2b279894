"""Progress for people, for programs, and for nobody."""

from __future__ import annotations

import json

import pytest

from animatediff.apps.progress import Bar, JsonLines, Quiet, open_progress


def show(progress) -> None:
    with progress:
        progress.stage("load")
        progress.stage("denoise", total=4)
        progress.at(2)
        progress.tell("written", "fox.mp4", {"path": "fox.mp4"})


def test_json_lines_say_how_far_and_what_was_written(capsys):
    show(JsonLines())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"event": "stage", "stage": "load", "total": None}
    assert lines[1] == {"event": "stage", "stage": "denoise", "total": 4}
    left = lines[2].pop("seconds_left")
    assert left >= 0
    assert lines[2] == {"event": "step", "stage": "denoise", "done": 2, "total": 4}
    assert lines[3] == {"event": "written", "text": "fox.mp4", "path": "fox.mp4"}


@pytest.mark.parametrize("kind", [Quiet, Bar])
def test_results_go_to_the_output_stream(kind, capsys):
    show(kind())
    assert capsys.readouterr().out == "fox.mp4\n"


def test_there_is_no_bar_where_there_is_no_terminal():
    assert isinstance(open_progress("auto"), Quiet)
    assert isinstance(open_progress("none"), Quiet)
    assert isinstance(open_progress("json"), JsonLines)
