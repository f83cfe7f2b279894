import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from animatediff.errors import OutputError
from animatediff.evaluation.intervals import Share
from animatediff.evaluation.presenting.tables import render_rows
from animatediff.evaluation.reports import Row, as_json, write_report


@dataclass(frozen=True)
class Small:
    share: Share
    missing: float = float("nan")

    def rows(self) -> tuple[Row, ...]:
        return (Row("right | wrong", str(self.share), "all", met=False), Row("free", "1"))


def test_a_report_says_the_command_the_counts_and_the_intervals(tmp_path: Path):
    report = Small(Share.of([True, True, False]))
    path = write_report(
        report, tmp_path / "small.json", question="small", command=["a", "b"], options={"seed": 1}
    )
    content = json.loads(path.read_text())
    assert content["command"] == ["a", "b"]
    assert content["report"]["share"]["count"] == 2
    assert content["report"]["share"]["low"] < 2 / 3 < content["report"]["share"]["high"]
    assert content["report"]["missing"] is None
    assert content["versions"]["torch"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_report_is_the_same_file(tmp_path: Path):
    report = Small(Share.of([True]))
    paths = [
        write_report(report, tmp_path / name, question="q", command=["c"], options=None)
        for name in ("a.json", "b.json")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_report(
            Small(Share.of([])),
            tmp_path / "file" / "small.json",
            question="q",
            command=[],
            options=None,
        )


def test_tables_are_markdown_and_say_what_was_missed(tmp_path: Path):
    table = render_rows(Small(Share.of([True])).rows())
    assert "| right \\| wrong | 100.0 % (1 of 1;" in table
    assert table.splitlines()[-2].endswith("| **no** |")


def test_mappings_and_tuples_become_plain_json():
    assert as_json({1: (1.5, float("inf"), "a")}) == {"1": [1.5, None, "a"]}
