"""``animatediff batch``: on a tiny model, resumed, with failures, and killed."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from tests.apps.many.test_plan import assert_whole

from animatediff.apps.cli import main
from animatediff.model.fast import drawing
from animatediff.sampling.loaded import free_memory, loading
from animatediff.video import read_metadata


@pytest.fixture
def words(tiny_world, tiny_motion, tmp_path, monkeypatch):
    """The options of a batch on a tiny model."""
    monkeypatch.chdir(tmp_path)
    model = ["--model", str(tiny_world), "--motion", str(tiny_motion)]
    return [*model, "--frames", "2", "--steps", "1", "--progress", "none", "--device", "cpu"]


def batch(*words, capsys):
    code = main(["batch", *map(str, words)])
    return code, capsys.readouterr()


def test_a_batch_draws_what_is_missing_and_shows_all(words, tmp_path, capsys):
    (tmp_path / "foxes.csv").write_text("prompt,seed\na fox,1\na <b>hare</b>,2\n")
    code, said = batch("foxes.csv", *words, "--format", "webp", capsys=capsys)
    assert code == 0
    assert "2 requests, 2 to draw." in said.out
    assert "Estimated time: " in said.out
    assert "(1 of 2; about " in said.out
    assert_whole(tmp_path / "foxes", 2, suffixes=("webp",))
    page = (tmp_path / "foxes" / "index.html").read_text()
    assert "2 done, 0 failed" in page
    assert "a &lt;b&gt;hare&lt;/b&gt;" in page
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "foxes").glob("*.webp")}
    with (tmp_path / "foxes.csv").open("a") as file:
        file.write("an owl,3\n")
    code, said = batch("foxes.csv", *words, "--format", "webp", capsys=capsys)
    assert "3 requests, 2 done already, 1 to draw." in said.out
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())


def test_one_failure_does_not_stop_the_others(words, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"prompt": "a fox", "motion": "none", "loop": True})
        + "\n"
        + json.dumps({"prompt": "an owl"})
    )
    words = [*words[:2], *words[4:], "--family", "emoji", "--format", "gif"]
    code, said = batch("a.jsonl", *words, capsys=capsys)
    assert code == 2
    assert "failed (a.jsonl, line 1): --loop needs a motion module" in said.out
    assert len(list((tmp_path / "a").glob("*.gif"))) in (0, 1)
    assert "failed" in (tmp_path / "a" / "index.html").read_text()


def test_what_cannot_run_here_is_one_error(words, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("prompt\na fox\nan owl\n")
    code, said = batch("a.csv", *words, "--memory", "low", capsys=capsys)
    assert code == 2
    assert said.err.count("--memory low keeps weights") == 1
    assert not list((tmp_path / "a").glob("*.mp4"))


def test_a_row_that_needs_too_much_memory_is_refused(words, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.csv").write_text("prompt\na fox\n")
    monkeypatch.setattr(free_memory, "free_memory", lambda device: 1000)
    code, said = batch("a.csv", *words, capsys=capsys)
    assert code == 4
    assert "failed (a.csv" in said.out
    assert "GiB beside what is loaded" in said.out


def test_a_batch_and_a_rerun_are_compiled_where_that_is_asked(words, tmp_path, capsys, monkeypatch):
    seen, plain = [], drawing.draw_fast

    def drawn(animated, runtime):
        seen.append(runtime.compile)
        return plain(animated, replace(runtime, compile=False))

    monkeypatch.setattr(drawing, "draw_fast", drawn)
    (tmp_path / "a.csv").write_text("prompt\na fox\n")
    assert batch("a.csv", *words, "--format", "gif", "--compile", capsys=capsys)[0] == 0
    (made,) = (tmp_path / "a").glob("*.gif")
    line = ["rerun", str(made), "-o", "again.gif", "--device", "cpu", "--progress", "none"]
    assert main([*line, "--compile"]) == 0
    assert main(line) == 0
    assert seen == [True, True, False]


def test_a_batch_and_a_rerun_are_quantised_as_a_request_says(words, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(loading, "check_quantisation", lambda kind, **_: seen.append(kind))
    monkeypatch.setattr(loading, "quantise", lambda animated, kind: seen.append(kind))
    (tmp_path / "a.csv").write_text("prompt,quantise\na fox,\nan owl,fp8\n")
    assert batch("a.csv", *words, "--format", "gif", capsys=capsys)[0] == 0
    assert seen == ["fp8", "fp8"]
    (made,) = (path for path in (tmp_path / "a").glob("*.gif") if "owl" in path.name)
    line = ["rerun", str(made), "-o", "again.gif", "--device", "cpu", "--progress", "none"]
    assert main(line) == 0
    assert seen == ["fp8"] * 4
    words = ["animate", "a fox", *words, "-o", "fox.gif", "--from-still", "1"]
    assert main([*words, "--quantise", "int8"]) == 0
    assert seen[4:] == ["int8", "int8"]
    assert main([*words, "--quantize", "int8"]) == 2
    assert "use --quantise" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(words, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a fox\nan owl\n")
    code, said = batch("a.txt", *words, "--dry-run", capsys=capsys)
    assert code == 0
    assert "Estimated time: " in said.out
    assert not list((tmp_path / "a").glob("*.mp4"))


def test_without_a_file_it_says_what_to_give(capsys):
    code, said = batch(capsys=capsys)
    assert code == 2
    assert "There is no FILE" in said.err


@pytest.mark.slow
def test_two_hundred_requests_killed_at_twenty_moments(words, tmp_path):
    rows = "".join(f"a fox,{seed}\n" for seed in range(200))
    (tmp_path / "many.csv").write_text(f"prompt,seed\n{rows}")
    command = [sys.executable, "-m", "animatediff", "batch", "many.csv", *words]
    command += ["--format", "mp4,webp", "--threads", "1"]
    moments = random.Random(0)
    folder = tmp_path / "many"
    for _ in range(20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # Most kills while files are written, some while the program starts.
        more = len(list(folder.glob("*.mp4"))) + moments.randrange(0, 10)
        while process.poll() is None and len(list(folder.glob("*.mp4"))) < more:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.wait()
        for path in folder.glob("*.webp"):
            assert read_metadata(path)["frames"] == "2"
    assert len(list(folder.glob("*.mp4"))) < 200
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert_whole(folder, 200, suffixes=("mp4", "webp"))
