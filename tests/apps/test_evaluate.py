"""``animatediff evaluate`` without what it needs: one sentence with what to do, and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.apps.cli import main


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ["scorer"],
            3,
            "holds no style folders of shards; render them with `animatediff dataset emoji`.",
        ),
        (["pictures"], 3, "holds no scorer; train one with `animatediff evaluate scorer`."),
        (["motion"], 3, "holds no scorer; train one with `animatediff evaluate scorer`."),
        (["transfer"], 3, "holds no scorer; train one with `animatediff evaluate scorer`."),
        (["adapter"], 3, "holds no shards (*.tar); render them with `animatediff dataset emoji`."),
        (["motion-lora"], 2, "that says which camera move it learned."),
        (["everything"], 2, "question cannot be 'everything'; it is one of 'scorer',"),
    ],
)
def test_what_is_not_there_yet_is_said_with_what_makes_it(
    words: list[str], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "evaluate",
        *words,
        "--work",
        str(tmp_path / "work"),
        "--results",
        str(tmp_path / "results"),
    ]
    assert main(line) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
