"""A study from the page to the ranks. Its answers are fixtures: nobody was asked."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animatediff.apps.cli import main
from animatediff.apps.study_server import study_server
from animatediff.errors import FileError, InputError
from animatediff.evaluation.reports import write_report
from animatediff.evaluation.study.answers import read_answers
from animatediff.evaluation.study.design import ASPECTS, Study, design_study, load_key
from animatediff.evaluation.study.report import report_study
from animatediff.evaluation.table1.page import media_name
from animatediff.video import Video

METHODS = ("Text2Video-Zero", "Tune-A-Video", "AnimateDiff")
PROMPTS = ("a fox </script>", "a hare", "an owl")
WALK = Path(__file__).with_name("walk.js")


def content() -> dict[str, Any]:
    clips = [
        {"method": method, "model": model, "index": index}
        for method in (*METHODS, "frozen control")
        for model in ("Noto LoRA", "<noto>")
        for index in range(len(PROMPTS))
        if (method, index) != ("Tune-A-Video", 2)
    ]
    models = [
        {
            "name": name,
            "prompts": list(PROMPTS),
            "model": "emoji",
            "motion": "emoji",
            "loras": [],
            "embeddings": [],
            "driving": [0, 0, 0],
        }
        for name in ("Noto LoRA", "<noto>")
    ]
    plan = {"models": models, "settings": {}, "clips": [{"file": "x", "caption": "x"}]}
    names = [*METHODS, "frozen control", "driving clips"]
    mean = {"value": 1.0, "low": 0.5, "high": 1.5, "total": 3}
    columns = [[key, key, 2] for key in ("text", "domain", "smooth", "flow", "frozen")]
    report = {
        "overall": {name: {key: mean for key, *_ in columns} for name in names},
        "by_model": {},
        "columns": columns,
        "judges": {"scorer": "0123456789abcdef01"},
        "flow": "flow",
        "comparisons": [],
        "orders": [],
        "missing": {},
        "clips": clips,
        "plan": plan,
    }
    return {"command": ["animatediff", "evaluate", "table1"], "rows": [], "report": report}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made study, in ``study`` of the folder."""
    root = tmp_path_factory.mktemp("study")
    results = root / "results"
    (results / "table1").mkdir(parents=True)
    (results / "table1.json").write_text(json.dumps(content()))
    for model in ("Noto LoRA", "<noto>"):
        for index in range(len(PROMPTS)):
            for number, what in enumerate((*METHODS, "references")):
                path = results / "table1" / media_name(model, index, what)
                path.parent.mkdir(parents=True, exist_ok=True)
                frames = np.full((2, 16, 16, 3), 20 * number + index, np.uint8)
                if what == "references":
                    Image.fromarray(frames[0]).save(path)
                else:
                    Video(frames, Fraction(8)).save(path)
    line = ["study", "make", str(root / "study"), "--results", str(results)]
    assert main([*line, "--per-model", "9"]) == 0
    return root


@pytest.fixture(scope="module")
def key(folder: Path) -> Study:
    return load_key(folder / "study")


def same(ranks: list[int]) -> dict[str, list[int]]:
    """The same ranks in every question."""
    return dict.fromkeys(ASPECTS, ranks)


def answers(
    key: Study, name: str, order: tuple[str, ...], *, attentive: bool = True
) -> dict[str, Any]:
    """The answers of somebody who always ranks the methods in this order."""
    given = []
    for item in (*key.items, None):
        methods = (item or key.items[0]).methods
        shown = sorted(methods, reverse=True)
        ranks = [1 + order.index(methods[video]) for video in shown]
        if item is None:
            ranks = [1, 2, 3] if attentive else [3, 2, 1]
        name_of = "check" if item is None else item.name
        given.append({"item": name_of, "shown": shown, "ranks": same(ranks)})
    return {"study": key.name, "participant": name, "answers": given}


def walked(page: Path, *, careless: bool = False, served: bool = False, failing: bool = False):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    flags = [str(int(flag)) for flag in (careless, served, failing)]
    done = subprocess.run(
        [node, str(WALK), str(page), *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_prompts_that_all_methods_drew_are_shown(key: Study):
    assert key.methods == METHODS
    assert sorted((item.model, item.index) for item in key.items) == [
        ("<noto>", 0),
        ("<noto>", 1),
        ("Noto LoRA", 0),
        ("Noto LoRA", 1),
    ]


def test_the_page_is_one_file_that_names_no_method(folder: Path):
    page = (folder / "study" / "study.html").read_text()
    for word in ("AnimateDiff", "Text2Video", "Tune-A-Video", "animatediff.webp", "tune-a-video"):
        assert word not in page.replace("animatediff-study-", "")
    assert "src=" not in page.split("<script>")[0]
    assert "http://" not in page
    assert "https://" not in page


def test_a_participant_walks_through_a_page_opened_from_a_file(folder: Path, key: Study):
    walk = walked(folder / "study" / "study.html")
    assert walk["pages"] == len(key.items) + 1
    assert walk["sent"] == []
    assert "This page was opened from a file." in walk["texts"][-1]
    person = read_answers(walk["saved"][0], key, source="the page")
    assert person.attentive
    assert len(person.ranks) == len(key.items)


def test_a_served_page_sends_its_answers_or_offers_them_as_a_file(folder: Path, key: Study):
    walk = walked(folder / "study" / "study.html", served=True)
    assert walk["saved"] == []
    assert walk["texts"][-1] == "Your answers were received."
    ((path, body),) = walk["sent"]
    assert path == "answers"
    assert read_answers(body, key, source="x").attentive
    failed = walked(folder / "study" / "study.html", served=True, failing=True)
    assert "could not be sent" in failed["texts"][-1]
    assert len(failed["saved"]) == 1


def test_carelessness_is_noticed_and_orders_differ_between_participants(folder: Path, key: Study):
    page = folder / "study" / "study.html"
    walks = [json.loads(walked(page, careless=True)["saved"][0]) for _ in range(3)]
    assert not read_answers(json.dumps(walks[0]), key, source="x").attentive
    orders = [[(answer["item"], answer["shown"]) for answer in walk["answers"]] for walk in walks]
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_ranks_are_averaged_by_participant_and_the_inattentive_are_left_out(
    folder: Path, key: Study, tmp_path: Path
):
    likes = [("AnimateDiff", "Tune-A-Video", "Text2Video-Zero")] * 3
    likes += [("Tune-A-Video", "AnimateDiff", "Text2Video-Zero")]
    files = []
    for number, order in enumerate(likes):
        made = answers(key, f"fixture-{number:02}", order)
        (tmp_path / f"{number}.json").write_text(json.dumps(made))
        files.append(str(tmp_path / f"{number}.json"))
    lazy = answers(key, "fixture-lazy", likes[0][::-1], attentive=False)
    (tmp_path / "lazy.json").write_text(json.dumps(lazy))
    study = str(folder / "study")
    assert main(["study", "collect", study, *files, str(tmp_path / "lazy.json")]) == 0
    results = folder / "results"
    assert main(["study", "report", study, "--results", str(results)]) == 0
    report = json.loads((results / "study.json").read_text())["report"]
    assert (report["participants"], report["inattentive"], report["fixtures"]) == (4, 1, 4)
    ranks = {method: report["ranks"][method]["text"]["value"] for method in METHODS}
    assert ranks == pytest.approx({METHODS[0]: 1, METHODS[1]: 2.25, METHODS[2]: 2.75})
    assert sum(ranks.values()) == pytest.approx(6)
    interval = report["ranks"]["AnimateDiff"]["text"]
    assert interval["low"] < 2.75 <= interval["high"]
    test = next(t for t in report["tests"] if (t["second"], t["aspect"]) == (METHODS[1], "text"))
    assert test["result"]["difference"]["value"] == pytest.approx(0.5)

    # The page of Table 1 shows the ranks from now on.
    page = (results / "table1" / "index.html").read_text()
    assert "2.75" in page
    assert "4 participants, 4 of them made up for a test; 3 is best" in page
    assert "no study has been run" not in page


def test_the_paper_shows_the_ranks_of_a_study(folder: Path, key: Study, tmp_path: Path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    results, pages = tmp_path / "results", tmp_path / "pages"
    results.mkdir()
    shutil.copyfile(folder / "results" / "table1.json", results / "table1.json")
    line = ["paper", "--results", str(results), "-o", str(pages)]
    assert main(line) == 0
    assert "no study has been run" in (pages / "table1.md").read_text()
    order = ("AnimateDiff", "Tune-A-Video", "Text2Video-Zero")
    given = [json.dumps(answers(key, f"someone-{number}", order)) for number in range(3)]
    report = report_study(key, [read_answers(text, key, source="x") for text in given])
    write_report(
        report, results / "study.json", question="study", command=["animatediff"], options=None
    )
    assert main(line) == 0
    text = (pages / "table1.md").read_text()
    assert "| Text (scorer) | Domain (scorer) | Smooth (scorer) |" in text
    assert "Judged by scorer (0123456789abcdef)" in text
    assert "no study has been run" not in text
    assert "means of 3 participants; 3 is best" in text
    row = next(line for line in text.splitlines() if line.startswith("| AnimateDiff |"))
    assert row.startswith("| AnimateDiff | 3.00 (3.00 to 3.00) |")


def test_a_table_whose_page_cannot_be_written_again_is_named(
    folder: Path, key: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = json.dumps(answers(key, "fixture-xx", METHODS))
    shutil.copytree(folder / "study", tmp_path / "study", ignore=shutil.ignore_patterns("answers"))
    (tmp_path / "x.json").write_text(made)
    assert main(["study", "collect", str(tmp_path / "study"), str(tmp_path / "x.json")]) == 0
    (tmp_path / "table1.json").write_text(json.dumps({"command": [], "rows": [], "report": {}}))
    line = ["study", "report", str(tmp_path / "study"), "--results", str(tmp_path)]
    assert main(line) == 3
    assert "lacks what its page shows; the user ranks are in" in capsys.readouterr().err


def test_the_server_takes_answers_and_gives_nothing_but_the_page(
    folder: Path, key: Study, capsys: pytest.CaptureFixture[str]
):
    server = study_server(folder / "study", host="127.0.0.1", port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"

    def post(body: bytes) -> int:
        request = urllib.request.Request(f"{base}/answers", data=body, method="POST")
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    try:
        with urllib.request.urlopen(f"{base}/") as reply:
            assert reply.read() == (folder / "study" / "study.html").read_bytes()
        for path in ("key.json", "answers/fixture-00.json", "../results/table1.json"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{base}/{path}")
            assert refused.value.code == 404
            refused.value.close()
        sent = answers(key, "fixture-served", METHODS)
        assert post(json.dumps(sent).encode()) == 200
        assert post(b"{}") == 400
        assert post(b"[" * 100_000) == 400
        # Nobody's address is printed, whatever goes wrong.
        server.handle_error(None, ("192.0.2.7", 4321))
        assert "192.0.2.7" not in "".join(capsys.readouterr())
        line = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
        line.putrequest("POST", "/answers")
        line.putheader("content-length", str(2 << 20))
        line.endheaders()
        assert line.getresponse().status == 413
        line.close()
    finally:
        server.shutdown()
        server.server_close()
    kept = folder / "study" / "answers" / "fixture-served.json"
    assert json.loads(kept.read_text()) == sent
    kept.unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(study="other"), "another study"),
        (lambda a: a.update(participant="../x"), "which the page never does"),
        (lambda a: a.pop("answers"), "does not contain answers"),
        (lambda a: a["answers"].pop(0), "lacks the answers to 1 of 4 items"),
        (lambda a: a["answers"].append(a["answers"][0]), "answers an item twice"),
        (lambda a: a["answers"][0].update(item="zz"), "the study does not have"),
        (
            lambda a: a["answers"][0].update(shown=["x"] * 3),
            "other videos",
        ),
        (
            lambda a: a["answers"][0].update(ranks=same([1, 1, 2])),
            "each given once",
        ),
        (
            lambda a: a["answers"][0].update(ranks=same([1, True, 2])),
            "whole number",
        ),
        (lambda a: a["answers"][0].update(ranks={}), "without ranks"),
    ],
)
def test_answers_that_cannot_be_are_refused(
    key: Study, change: Callable[[dict[str, Any]], object], reason: str
):
    made = answers(key, "fixture-00", METHODS)
    change(made)
    with pytest.raises(FileError, match=reason):
        read_answers(json.dumps(made), key, source="it")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"participant": ' + b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=["deep", "deep name", "no text"],
)
def test_what_is_no_text_or_too_deep_is_one_sentence(key: Study, text: bytes) -> None:
    with pytest.raises(FileError, match="it does not contain answers of a study"):
        read_answers(text, key, source="it")


def test_answers_are_utf_8(key: Study) -> None:
    text = json.dumps(answers(key, "fixture-00", METHODS))
    assert read_answers(text.encode("utf-8-sig"), key, source="it").attentive
    with pytest.raises(FileError, match="it does not contain answers of a study"):
        read_answers(text.encode("utf-16"), key, source="it")


def test_a_rank_nested_as_deep_as_json_allows_is_one_sentence(key: Study) -> None:
    made = answers(key, "fixture-00", METHODS)
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    made["answers"][0]["item"] = deep
    text = json.dumps(made)
    with pytest.raises(FileError, match="it "):
        read_answers(text, key, source="it")


def test_what_is_missing_is_said(
    folder: Path, key: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["study", "make", str(folder / "study"), "--results", str(folder / "results")]) == 2
    assert "already has a study" in capsys.readouterr().err
    assert main(["study", "make", str(tmp_path / "s"), "--results", str(tmp_path)]) == 3
    assert "run `animatediff evaluate table1` first" in capsys.readouterr().err
    assert main(["study", "report", str(tmp_path)]) == 3
    assert "is not a study's folder" in capsys.readouterr().err
    with pytest.raises(InputError, match="no answers that count; 0 were collected"):
        report_study(key, [])
    with pytest.raises(InputError, match="has no method 'Gen-2'"):
        design_study(content(), per_model=1, methods=("Gen-2", "AnimateDiff"))
    with pytest.raises(InputError, match="at least two methods, not only one; Table 1 has Text2"):
        design_study(content(), per_model=1, methods=("AnimateDiff", "AnimateDiff"))


@pytest.mark.parametrize("table", [[], {}, {"report": []}, {"report": {"overall": ["a", "b"]}}])
def test_what_is_no_result_of_table_1_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: object
):
    (tmp_path / "table1.json").write_text(json.dumps(table))
    assert main(["study", "make", str(tmp_path / "s"), "--results", str(tmp_path)]) == 3
    assert "table1.json lacks what a study shows" in capsys.readouterr().err
