"""The command line: what it writes, and one sentence with one exit code for what it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from animatediff.apps.cli import COMMANDS, main
from animatediff.video import Video, read_metadata

Run = list[str]


@pytest.fixture
def tiny(tiny_world: Path, tiny_motion: Path) -> Run:
    """What makes ``animate`` fast: a tiny model and few frames."""
    return [
        "--model",
        str(tiny_world),
        "--motion",
        str(tiny_motion),
        "--frames",
        "3",
        "--steps",
        "2",
    ]


def test_a_prompt_becomes_a_file_that_can_be_made_again(tmp_path: Path, tiny: Run) -> None:
    first, again = tmp_path / "fox.webp", tmp_path / "again.webp"
    assert main(["animate", "a fox", "-o", str(first), "--seed", "3", *tiny]) == 0
    assert main(["rerun", str(first), "-o", str(again)]) == 0
    assert np.array_equal(Video.load(first).frames, Video.load(again).frames)
    assert read_metadata(first)["animatediff"] == read_metadata(again)["animatediff"]


def test_a_prompt_travels_by_a_file_and_back(
    tmp_path: Path, tiny: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """And facts that a stranger added to the file are said to be left out."""
    (tmp_path / "travel.txt").write_text("a fox\n0: awake\n100%: asleep")
    made, again = tmp_path / "made", tmp_path / "again"
    line = ["animate", "--prompts", str(tmp_path / "travel.txt"), "-o", str(made), *tiny]
    assert main([*line, "--format", "png", "--progress", "json"]) == 0
    assert "2 keyframes" in capsys.readouterr().out
    facts = json.loads((made / "frames.json").read_text())
    strange = {f"k{i}": "v" for i in range(2000)}
    (made / "frames.json").write_text(json.dumps({**facts, **strange}))
    line = ["rerun", str(made), "-o", str(again), "--format", "png", "--progress", "json"]
    assert main(line) == 0
    assert (
        f"{len(facts) + 1000} metadata entries more than are supported" in capsys.readouterr().out
    )
    assert np.array_equal(Video.load(made).frames, Video.load(again).frames)


def test_several_seeds_and_formats_are_written_with_a_grid(tmp_path: Path, tiny: Run) -> None:
    output = tmp_path / "fox.webp"
    assert (
        main(
            ["animate", "a fox", "-o", str(output), "--seed", "1,2", "--format", "webp,gif", *tiny]
        )
        == 0
    )
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {f"fox{part}.{kind}" for part in ("", "-1", "-2") for kind in ("webp", "gif")}
    assert main(["rerun", str(output), "-o", str(tmp_path / "again.webp")]) == 3
    alone, together = Video.load(tmp_path / "fox-2.webp"), Video.load(output)
    assert together.frames.shape[2] == 2 * alone.frames.shape[2]


def test_a_preview_is_kept_up_to_date(tmp_path: Path, tiny: Run) -> None:
    words = [
        "animate",
        "a fox",
        "-o",
        str(tmp_path / "a.gif"),
        "--preview",
        str(tmp_path / "p.png"),
    ]
    assert main([*words, *tiny, "--steps", "5"]) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, tiny: Run) -> None:
    for name in ("fox: a hare.mp4", "100%.webm"):
        assert main(["animate", "a fox", "-o", str(tmp_path / name), *tiny]) == 0
        assert (tmp_path / name).is_file()


def test_outputs_are_tried_before_anything_is_loaded(
    tmp_path: Path, tiny: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("animatediff.apps.render.render", _not_reached)
    (tmp_path / "taken.mp4").mkdir()
    for words, sentence in (
        (["-o", "a.mp4", "--preview", "."], "--preview . is a folder"),
        (["-o", "a.mp4", "--preview", "nowhere/p.png"], "no folder nowhere for --preview"),
        (["-o", "a.mp4", "--preview", "a" * 300], "name too long"),
        (["-o", "a.gif", "--preview", "./a.gif"], "is also the result"),
        (["-o", "taken.mp4", "--format", "mp4"], "taken.mp4 is a folder"),
        (["-o", "taken", "--format", "mp4"], "there is a folder of that name"),
        (["-o", f"{'a' * 300}.mp4"], "name too long"),
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["animate", "a fox", *words, *tiny]) in (2, 5)
        assert sentence in capsys.readouterr().err


def test_a_sheet_is_tried_before_clips_are_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not looked at")
    assert main(["dataset", "check", str(tmp_path), "--sheet", str(tmp_path)]) == 5
    assert "--sheet" in capsys.readouterr().err


def _not_reached(*_: object, **__: object) -> None:
    raise AssertionError("something was loaded")


@pytest.mark.parametrize(
    "words",
    [
        ["models", "--folder"],
        ["models", "--folder", "x"],
        ["dataset", "check", "--foldr", "."],
        ["train", "--folder"],
        ["inspect", "--folder"],
    ],
)
def test_an_unknown_option_is_named_and_not_taken_for_a_value(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    option = next(word for word in words if word.startswith("--"))
    assert f"{words[0]} has no option {option}" in capsys.readouterr().err


def test_ctrl_c_while_modules_are_imported_is_one_sentence() -> None:
    code = (
        "import sys, builtins\n"
        "own = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name == 'animatediff.apps.cli': raise KeyboardInterrupt\n"
        "    return own(name, *rest)\n"
        "builtins.__import__ = stop\n"
        "import animatediff.__main__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "animatediff: Stopped; nothing was written.\n")


def test_the_command_begins_before_anything_large_is_imported() -> None:
    """So that Ctrl-C is caught from the first hundredths of a second on."""
    code = "import sys, animatediff.apps.start; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "numpy", "torch", "tyro"} & set(done.stdout.split())


def test_what_there_is_to_know_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["models"]) == 0
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command.name in printed for command in COMMANDS)
    for command in COMMANDS:
        assert main([*command.name.split(), "--help"]) == 0


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from animatediff.apps.cli import main; main(['--help']); "
        "main(['animate', '--help']); sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def test_as_many_threads_run_as_are_asked_for(tmp_path: Path, tiny: Run) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            line = ["animate", "a fox", "-o", str(tmp_path / "fox.gif"), *tiny]
            assert main([*line, "--threads", str(threads)]) == 0
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["animate", "a fox", "--model", "emojy"], 2, "did you mean emoji?"),
        (["animate", "a fox", "--motion", "/nowhere.safetensors"], 2, "There is no motion"),
        (["animate", "a fox", "--setps", "3"], 2, "--steps"),
        (["animate", "a fox", "--frames", "0"], 2, "1 to 1024"),
        (["animate", "a fox", "--frames", "10000"], 2, "1 to 1024"),
        (["animate", "a fox", "--frames", "many"], 2, "many"),
        (["animate", "a fox", "--size", "100x100"], 2, "multiple of 8"),
        (["animate", "x" * 100_000], 2, "shorten it to 10000"),
        (["animate", "a fox", "--lora", "noto:much"], 2, "noto:0.8"),
        (["animate", "a fox", "--device", "abacus"], 2, "abacus"),
        (["animate", "a fox", "--threads", "0"], 2, "use 1 to"),
        (["animate", "a fox", "-o", "a.avi"], 2, "avi"),
        (["animate"], 2, "PROMPT"),
        (["animte", "a fox"], 2, "animate"),
        (["rerun", "missing.mp4"], 3, "missing.mp4"),
        (["animate", "a fox", "-o", "nowhere/a.mp4"], 5, "no folder nowhere"),
        (["train", "motoin"], 2, "motion"),
        (["dataset", "cats"], 2, "emoji"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(
    words: Run,
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    printed = capsys.readouterr().err
    assert printed.startswith("animatediff: ")
    assert sentence in printed
    assert len(printed.splitlines()) == 1
    assert "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_weight_file_is_named(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "world"
    shutil.copytree(tiny_world, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    out = tmp_path / "a.gif"
    assert main(["animate", "a fox", "--model", str(copy), "--motion", "none", "-o", str(out)]) == 3
    printed = capsys.readouterr().err
    assert "diffusion_pytorch_model.safetensors" in printed
    assert len(printed.splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_is_full_is_found_out_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert main(["animate", "a fox", "-o", str(tmp_path / "a.mp4")]) == 5
    assert "full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
