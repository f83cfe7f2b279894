"""``animatediff evaluate table1`` on tiny random models: drawn, resumed, extended, reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from animatediff.apps.cli import main
from animatediff.evaluation.table1 import drawing
from animatediff.evaluation.table1.page import paper_table
from animatediff.video import Video


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_world: Path, tiny_motion: Path, tiny_lora: Path
):
    """A folder with a plan of two personalised models, and its two driving clips."""
    folder = tmp_path_factory.mktemp("table1")
    noise = np.random.default_rng(0).integers(0, 255, (2, 4, 40, 64, 3)).astype(np.uint8)
    for number in range(2):
        Video(noise[number], Fraction(5)).save(folder / f"clip{number}.apng")
    prompts = '["a fox", "a red hare"]'
    own = f'model = "{tiny_world}", motion = "{tiny_motion}", prompts = {prompts}'
    text = f"""
        models = [
            {{ name = "plain", {own} }},
            {{ name = "styled", {own}, loras = ["{tiny_lora}:1"] }},
        ]
        clips = [
            {{ file = "clip0.apng", caption = "a fox runs" }},
            {{ file = "clip1.apng", caption = "a hare runs" }},
        ]
        [settings]
        num_frames = 3
        references = 2
        steps = 2
        zero_steps = 4
        zero_t0 = 1
        zero_t1 = 2
        tune_train_steps = 2
        tune_steps = 2
    """
    (folder / "plan.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def compare(world: Path, tiny_clip: Path):
    def run(*words: object, results: str = "results"):
        line = ["evaluate", "table1", "--plan", world / "plan.toml", "--work", world / "work"]
        line += ["--results", world / results, "--clip", tiny_clip, "--progress", "none", *words]
        return main([str(word) for word in line])

    return run


def refused(*args: object, **kwargs: object):
    raise AssertionError("drawn again")


def test_all_methods_are_compared_and_shown(
    compare: Callable[..., int],
    world: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    assert compare("--vbench", world / "vbench") == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "| Tune-A-Video: Smooth |" in printed
    content = json.loads((world / "results" / "table1.json").read_text())
    report = content["report"]
    assert list(report["overall"]) == [
        "Text2Video-Zero",
        "Tune-A-Video",
        "AnimateDiff",
        "frozen control",
        "driving clips",
    ]
    counts = dict.fromkeys(report["overall"], 0)
    for clip in report["clips"]:
        counts[clip["method"]] += 1
    assert list(counts.values()) == [4, 4, 4, 4, 2]
    frozen = report["overall"]["frozen control"]
    assert frozen["smooth"]["value"] == pytest.approx(100, abs=1e-3)
    assert frozen["flow"]["value"] == pytest.approx(0, abs=1e-3)
    assert frozen["frozen"]["value"] == 100
    assert report["overall"]["driving clips"]["domain"]["value"] is None
    assert {each["column"] for each in report["comparisons"]} == {
        "text",
        "domain",
        "smooth",
        "flow",
    }
    assert [order["column"] for order in report["orders"]] == ["text", "domain", "smooth"]
    assert report["orders"][2]["paper"] == ["AnimateDiff", "Tune-A-Video", "Text2Video-Zero"]
    page = (world / "results" / "table1" / "index.html").read_text()
    images = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(images) == 4 * (3 + 2)
    assert all((world / "results" / "table1" / image).is_file() for image in images)
    assert 'href="../table1.json"' in page
    exported = world / "vbench" / "animatediff" / "styled"
    assert sorted(path.name for path in exported.iterdir()) == ["a fox-0.mp4", "a red hare-0.mp4"]

    # What was drawn and measured is not done again, and the numbers stay the same.
    for name in ("text2video_zero", "tune", "edit", "decode"):
        monkeypatch.setattr(drawing, name, refused)
    assert compare(results="again") == 0, capsys.readouterr().err
    again = json.loads((world / "again" / "table1.json").read_text())
    assert again["report"] == report


def test_models_measured_apart_are_joined(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(results="whole") == 0, capsys.readouterr().err
    for model in ("plain", "styled"):
        assert compare("--models", model, results=model) == 0, capsys.readouterr().err
    assert compare("--models", "styled", "--steps", "3", results="other") == 0
    plain, styled, other, whole = (
        str(world / name / "table1.json") for name in ("plain", "styled", "other", "whole")
    )
    to = ["--results", str(world / "joined")]
    assert main(["evaluate", "join", plain, styled, *to]) == 0
    assert "| Tune-A-Video: Smooth |" in capsys.readouterr().out
    joined = json.loads((world / "joined" / "table1.json").read_text())
    assert joined["report"] == json.loads(Path(whole).read_text())["report"]
    page = (world / "joined" / "table1" / "index.html").read_text()
    images = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(images) == 4 * (3 + 2)
    assert all((world / "joined" / "table1" / image).is_file() for image in images)

    broken = world / "broken.json"
    broken.write_text('{"report": []}')
    for files, says in (
        ([plain], "name two or more"),
        ([plain, whole], "have Text2Video-Zero of the model 'plain'"),
        ([plain, other], "differ in their settings"),
        ([plain, str(broken)], "is no result of `animatediff evaluate table1`"),
        ([plain, str(world / "none.json")], "none.json cannot be read"),
    ):
        assert main(["evaluate", "join", *files, *to]) != 0
        assert says in capsys.readouterr().err


def test_methods_measured_apart_are_joined(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("animatediff", "animatediff-carried")
    for methods, results in (*(((name,), name) for name in names), (names, "both")):
        assert compare("--methods", *methods, results=results) == 0, capsys.readouterr().err
    parts = [str(world / name / "table1.json") for name in names]
    assert main(["evaluate", "join", *parts, "--results", str(world / "all")]) == 0
    joined, both = (
        json.loads((world / name / "table1.json").read_text())["report"] for name in ("all", "both")
    )
    assert joined == both
    assert list(joined["overall"]) == [
        "AnimateDiff",
        "AnimateDiff-carried",
        "frozen control",
        "driving clips",
    ]
    drawn, carried = (
        [clip["marks"] for clip in joined["clips"] if clip["method"] == name]
        for name in ("AnimateDiff", "AnimateDiff-carried")
    )
    assert drawn != carried
    assert joined["frozen"] == "AnimateDiff"
    one = ["--methods", "animatediff-carried", "--models", "plain"]
    assert compare(*one, results="one") == 0, capsys.readouterr().err
    lacking = [parts[0], str(world / "one" / "table1.json")]
    assert main(["evaluate", "join", *lacking, "--results", str(world / "all")]) != 0
    assert "No result has AnimateDiff-carried of the model 'styled'" in capsys.readouterr().err


def test_a_comparison_of_fewer_prompts_is_extended(
    compare: Callable[..., int],
    world: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    plan = (world / "plan.toml").read_text()
    long = plan.replace('["a fox", "a red hare"]', '["a cat", "a red cat", "a dog", "a red dog"]')
    (world / "long.toml").write_text(long)
    words = ["--plan", world / "long.toml", "--methods", "tune-a-video", "--models", "plain"]
    words += ["--work", world / "extended"]
    tuned, drawn = [], []
    tune, edit = drawing.tune, drawing.edit
    monkeypatch.setattr(drawing, "tune", lambda *a, **k: (tuned.append(1), tune(*a, **k))[1])
    monkeypatch.setattr(drawing, "edit", lambda *a, **k: (drawn.append(1), edit(*a, **k))[1])
    assert compare(*words, "--prompts", "2", results="short") == 0, capsys.readouterr().err
    short = json.loads((world / "short" / "table1.json").read_text())["report"]
    assert (len(tuned), len(drawn)) == (1, 2)
    assert compare(*words, results="long") == 0, capsys.readouterr().err
    assert (len(tuned), len(drawn)) == (2, 4)
    whole = json.loads((world / "long" / "table1.json").read_text())["report"]
    page = (world / "long" / "table1" / "index.html").read_text()
    assert [page.count(f"driving/00{number}.webp") for number in range(2)] == [2, 2]
    mine = [each for each in short["clips"] if each["method"] == "Tune-A-Video"]
    assert [each for each in whole["clips"] if each["method"] == "Tune-A-Video"][:2] == mine


def test_a_personalised_model_draws_its_own_pictures(compare: Callable[..., int], world: Path):
    report = json.loads((world / "results" / "table1.json").read_text())["report"]
    for method in ("Text2Video-Zero", "Tune-A-Video", "AnimateDiff"):
        marks = [c["marks"] for c in report["clips"] if c["method"] == method and c["index"] == 0]
        assert marks[0] != marks[1], method


def test_clips_of_other_systems_are_matched_by_prompt(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str]
):
    folder = world / "gen-2"
    folder.mkdir()
    video = Video(np.full((4, 32, 32, 3), 90, np.uint8), Fraction(24))
    video.save(folder / "A red_hare!-0.webp")
    words = ["--bring", f"Gen-2={folder}", "--methods", "animatediff", "--models", "plain"]
    assert compare(*words, results="brought") == 0, capsys.readouterr().err
    content = json.loads((world / "brought" / "table1.json").read_text())
    report = content["report"]
    assert report["missing"] == {"Gen-2": ["a fox"]}
    # The best of a column has a clip of every prompt.
    for aspect in ("text", "domain", "smooth"):
        report["overall"]["Gen-2"][aspect]["value"] = 1000.0
    _, rows = paper_table(content)
    starred = {row[0] for row in rows for cell in row if cell.endswith("*")}
    assert starred == {"AnimateDiff"}
    report["missing"] = {}
    _, rows = paper_table(content)
    assert {row[0] for row in rows for cell in row if cell.endswith("*")} == {"Gen-2"}
    mine = [c for c in report["clips"] if c["method"] == "Gen-2"]
    assert [(c["model"], c["index"]) for c in mine] == [("plain", 1)]
    assert {each["second"] for each in report["comparisons"]} == {"Gen-2"}
    assert report["orders"] == []
    page = (world / "brought" / "table1" / "index.html").read_text()
    assert "media/plain/001-gen-2.webp" in page
    assert "media/plain/000-gen-2.webp" not in page


def test_without_animatediff_another_method_is_held_still(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--methods", "text2video-zero", "--models", "plain"]
    assert compare(*words, results="still") == 0, capsys.readouterr().err
    report = json.loads((world / "still" / "table1.json").read_text())["report"]
    assert report["frozen"] == "Text2Video-Zero"
    assert report["overall"]["frozen control"]["frozen"]["value"] == 100
    assert sum(c["method"] == "frozen control" for c in report["clips"]) == 2
    page = (world / "still" / "table1" / "index.html").read_text()
    assert "frozen control: the first frame of each clip of Text2Video-Zero" in page


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--models", "other"], 2, "There is no model 'other' in the plan"),
        (["--prompts", "0"], 2, "0 prompts leave nothing to compare"),
        (["--bring", "Gen-2"], 2, "--bring takes NAME=FOLDER"),
        (["--bring", "AnimateDiff=."], 2, "as the table has AnimateDiff already"),
        (["--bring", " animatediff =."], 2, "as the table has AnimateDiff already"),
        (["--bring", "frozen control=."], 2, "as the table has frozen control already"),
        (["--bring", "Driving Clips=."], 2, "as the table has driving clips already"),
        (["--bring", "references=."], 2, "as the table has references already"),
        (["--methods"], 2, "Nothing is compared"),
        (["--bring", "Gen-2=nowhere"], 3, "there is no folder nowhere"),
        (["--dino", "nowhere"], 3, "--dino nowhere has no config.json"),
        (["--zero-steps", "1"], 2, "1 DDIM steps have no two noise levels"),
        (["--motion", "other"], 2, "--motion is for a comparison without --plan"),
        (["--driving", "3"], 2, "--driving is for a comparison without --plan"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    compare: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
):
    assert compare(*words, results="none") == code
    assert sentence in capsys.readouterr().err


def test_two_systems_of_one_name_are_refused(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str]
):
    folder = world / "pika"
    folder.mkdir()
    Video(np.full((4, 32, 32, 3), 90, np.uint8), Fraction(24)).save(folder / "a fox.webp")
    assert compare("--bring", f"Pika={folder}", f"pika={folder}", results="none") == 2
    assert "as the table has Pika already" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"command": [], "rows": [], "report": {}}'])
def test_a_broken_user_study_is_named_before_anything_is_drawn(
    compare: Callable[..., int], world: Path, capsys: pytest.CaptureFixture[str], text: str
):
    folder = world / "with-study"
    folder.mkdir(exist_ok=True)
    (folder / "study.json").write_text(text)
    assert compare(results="with-study") == 3
    assert "study.json " in capsys.readouterr().err
    assert not (folder / "table1.json").exists()
