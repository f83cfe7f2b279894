"""Pages and plots of the paper: written from results alone, byte for byte, and never by hand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="plots need matplotlib")

from animatediff.apps.cli import main
from animatediff.errors import FileError
from animatediff.evaluation.paper.chart import Chart, Panel, Point, Series, number_in
from animatediff.evaluation.paper.charts import CHARTS
from animatediff.evaluation.paper.claims import CLAIMS
from animatediff.evaluation.paper.draw import svg_of
from animatediff.evaluation.paper.experiments import EXPERIMENTS, find_result, read_result
from animatediff.evaluation.paper.pages import write_paper

ROOT = Path(__file__).parents[3]
CHART = Chart(
    (
        Panel(
            "Flow",
            "",
            "px",
            (Series("a", (Point("x", 1, 0.5, 2), Point("y", 2, 1, 3))),),
            reference=(1.5, "real"),
        ),
        Panel(
            "Rate",
            "rank",
            "%",
            tuple(
                Series(name, (Point(2, level, 0, 100), Point(8, level, 10, 90)))
                for name, level in (("with", 50), ("without", 20))
            ),
            log=True,
        ),
    )
)


def finding(text: str, content: dict[str, Any]):
    return next(claim for claim in CLAIMS if text in claim.text).find(content)


def verdict(text: str, content: dict[str, Any]) -> bool | None:
    found = finding(text, content)
    assert found is not None
    return found.agrees


def share(count: int, total: int, low: float, high: float) -> dict[str, Any]:
    return {"count": count, "total": total, "share": count / total, "low": low, "high": high}


def test_the_pages_in_the_documentation_are_those_of_the_results(tmp_path: Path):
    write_paper(ROOT / "results", tmp_path / "docs" / "paper")
    # Links are relative to the folder of results.
    made = {path.name: path for path in (tmp_path / "docs" / "paper").iterdir()}
    kept = {path.name: path for path in (ROOT / "docs" / "paper").iterdir()}
    assert made.keys() == kept.keys(), "run `animatediff paper`"
    for name, path in made.items():
        text = path.read_text(encoding="utf-8")
        links = re.compile(r"\]\([^)]*/results/")
        assert links.sub("](R/", text) == links.sub(
            "](R/", kept[name].read_text(encoding="utf-8")
        ), f"{name} differs; run `animatediff paper`"


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    shutil.copyfile(ROOT / "results" / "adapter.json", results / "adapter.json")
    for name in ("first", "second"):
        line = ["paper", "--results", str(results), "-o", str(tmp_path / name)]
        assert main(line) == 0
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_a_chart_has_two_themes_of_one_drawing():
    light, dark = svg_of(CHART, theme="light"), svg_of(CHART, theme="dark")
    assert light == svg_of(CHART, theme="light")
    assert "#ffffff" in light
    assert "#ffffff" not in dark
    texts = re.compile(r"<text[^>]*>([^<]*)<")
    assert texts.findall(light) == texts.findall(dark)
    assert "Flow" in light  # text stays text
    assert not re.search(r"\d{4}-\d\d-\d\dT", light)


def test_every_claim_has_an_experiment_and_every_chart_too():
    names = {experiment.name for experiment in EXPERIMENTS}
    assert {claim.experiment for claim in CLAIMS} <= names
    assert CHARTS.keys() <= names


def test_results_of_an_ablation_come_before_older_ones(tmp_path: Path):
    experiment = next(e for e in EXPERIMENTS if e.name == "adapter")
    assert find_result(experiment, tmp_path) is None
    (tmp_path / "adapter.json").write_text("{}")
    assert find_result(experiment, tmp_path) == tmp_path / "adapter.json"
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "adapter.json").write_text("{}")
    assert find_result(experiment, tmp_path) == tmp_path / "ablations" / "adapter.json"


def test_what_was_not_measured_says_how_to_measure_it(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    shutil.copyfile(ROOT / "results" / "adapter.json", results / "adapter.json")
    write_paper(results, tmp_path / "paper")
    index = (tmp_path / "paper" / "index.md").read_text()
    row = next(line for line in index.splitlines() if "Smooth, by CLIP" in line)
    assert "run `animatediff evaluate table1` | not measured |" in row
    assert "| agrees |" in next(line for line in index.splitlines() if "watermark disap" in line)
    assert sorted(path.name for path in (tmp_path / "paper").iterdir()) == [
        "adapter-dark.svg",
        "adapter.md",
        "adapter.svg",
        "index.md",
    ]


def test_a_page_links_to_its_json_and_its_command():
    page = (ROOT / "docs" / "paper" / "adapter.md").read_text()
    command = json.loads((ROOT / "results" / "adapter.json").read_text())["command"]
    assert "(../../results/adapter.json)" in page
    assert " ".join(command) in page


def test_verdicts_follow_the_intervals_not_the_wish():
    wins = share(40, 60, 0.54, 0.77)
    compared = {"report": {"transformer_over_convolution": {"flow_wins": wins}}}
    assert verdict("temporal Transformer models", compared)
    wins |= {"low": 0.49}
    assert verdict("temporal Transformer models", compared) is None
    wins |= share(10, 60, 0.1, 0.3)
    assert verdict("temporal Transformer models", compared) is False

    move = {"asked_way": share(38, 40, 0.8, 1), "base_asked_way": share(10, 40, 0.1, 0.4)}
    few = {"report": {"moves": {"clips-5": move, "clips-50": move, "clips-500": move}}}
    assert verdict("from 50 clips", few)
    assert verdict("5 clips are too few", few) is False
    assert finding("rank 2", few) is None
    move["asked_way"] = share(20, 40, 0.35, 0.65)
    assert verdict("from 50 clips", few) is None
    assert verdict("5 clips are too few", few)
    move["asked_way"] = share(1, 2, 0.1, 0.95)
    assert verdict("5 clips are too few", few) is None


def test_two_prompts_decide_nothing():
    few = share(0, 2, 0, 0.66)
    marks = {"marked": few, "recognised": few}
    adapter = {"report": {"by_alpha": {"1.0": marks, "0.0": marks}, "unadapted": marks}}
    for text in ("watermark disappears", "learns the watermark", "Visual quality"):
        assert verdict(text, adapter) is None
    both = {"both": few, "rates": {}}
    assert verdict("compose", {"report": {"together": {"a+b": both}}}) is None


def test_numbers_are_read_from_whole_names():
    assert number_in("rank-2", "rank") == 2
    assert number_in("zoom-in-rank128", "rank") == 128
    assert number_in("zoom-in-50clips", "clips") == 50
    assert number_in("clips-5", "clips") == 5
    assert number_in("zoom-in", "rank") is None
    assert number_in("clips-5-or-50clips", "clips") is None
    # A number of something else.
    assert number_in("zoom-in-rank2", "clips") is None
    assert number_in("rank2-5clips", "clips") == 5
    assert number_in("rank2-5clips", "rank") == 2
    assert number_in("clips5-rank2", "rank") == 2
    assert number_in("zoom2", "rank") is None


def test_a_chart_of_clips_leaves_out_what_varies_in_rank():
    part = share(19, 20, 0.76, 0.99)
    rate = {"value": 0.1, "low": 0.05, "high": 0.2}
    marks = {"asked_way": part, "base_asked_way": part, "size": 0.5, "rate": rate}
    marks |= {"learned_rate": rate}

    def drawn(*names: str) -> tuple[list[float | str], str]:
        chart = CHARTS["motion-lora-clips"]({"report": {"moves": dict.fromkeys(names, marks)}})
        first = chart.panels[0]
        return [p.x for p in first.series[0].points], first.x_label

    assert drawn("zoom-in-rank2", "zoom-in-5clips") == (["zoom-in-5clips"], "")
    assert drawn("clips-50", "rank2", "clips-5") == ([50, 5], "number of clips")
    assert drawn("zoom-in", "pan-right") == (["zoom-in", "pan-right"], "")
    assert finding("5 clips are too few", {"report": {"moves": {"rank-5": marks}}}) is None
    assert finding("rank 2", {"report": {"moves": {"2clips": marks}}}) is None


def test_broken_results_are_named(tmp_path: Path):
    (tmp_path / "adapter.json").write_text("{}")
    with pytest.raises(FileError, match=r"adapter\.json was not written by"):
        read_result(tmp_path / "adapter.json")
    empty = {"command": ["x"], "rows": [], "report": {}}
    (tmp_path / "adapter.json").write_text(json.dumps(empty))
    with pytest.raises(FileError, match="measure"):
        write_paper(tmp_path, tmp_path / "paper")
