"""``animatediff grid``: the sides, the table, and what stands beside it."""

import json

import numpy as np
import pytest

from animatediff.apps.cli import main
from animatediff.apps.many.axes import parse_axis
from animatediff.errors import InputError
from animatediff.video import Video


def test_a_side_is_any_field_with_its_values():
    assert parse_axis("guidance=3,5", option="--x").changes == (
        {"guidance": 3.0},
        {"guidance": 5.0},
    )
    lists = parse_axis("motion-lora=none,zoom-in:1;pan-left:0.5", option="--y")
    assert lists.changes == ({"motion_loras": ()}, {"motion_loras": ("zoom-in:1", "pan-left:0.5")})
    assert lists.labels == ("motion-lora none", "motion-lora zoom-in:1;pan-left:0.5")
    prompts = parse_axis("prompt=a fox, flat|an owl", option="--x")
    assert prompts.labels == ("a fox, flat", "an owl")
    assert parse_axis("size=64x32", option="--x").changes == ({"width": 64, "height": 32},)
    assert parse_axis("motion=none,emoji", option="--x").changes[0] == {"motion": "none"}
    assert parse_axis("loop=yes,no", option="--x").changes == ({"loop": True}, {"loop": False})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("guidance", "not a field and its values"),
        ("guidence=3", "did you mean guidance"),
        ("cfg=3", "use guidance"),
        ("steps=3,three", "steps = 'three'"),
        ("steps=3,3", "twice"),
        ("prompts=a", "is a table"),
    ],
)
def test_a_side_that_cannot_be(text, words):
    with pytest.raises(InputError, match=words):
        parse_axis(text, option="--x")


def test_a_grid_is_a_labelled_table_with_json(tiny_world, tiny_motion, tmp_path, capsys):
    out = tmp_path / "g.mp4"
    words = ["grid", "a fox", "--x", "seed=1,2", "--y", "guidance=1,3", "-o", str(out)]
    words += ["--model", str(tiny_world), "--motion", str(tiny_motion), "--progress", "none"]
    words += ["--frames", "2", "--steps", "1", "--device", "cpu"]
    assert main(words) == 0
    table = Video.load(tmp_path / "g.webp")
    assert Video.load(out).num_frames == table.num_frames == 2
    facts = json.loads((tmp_path / "g.json").read_text())
    assert facts["x"] == {"field": "seed", "values": ["1", "2"]}
    assert facts["cells"][1][0]["request"]["guidance"] == 3
    cell = Video.load(tmp_path / facts["cells"][1][0]["file"])
    height, width = table.frames.shape[1:3]
    corner = table.frames[:, height - 32 :, width - 64 : width - 32]
    np.testing.assert_array_equal(corner, cell.frames)
    assert (table.frames[0, : height - 64] < 128).any(), "no label above the columns"
    capsys.readouterr()
    assert main(words) == 0
    assert "2 x 2 cells, 0 to draw." in capsys.readouterr().out
    assert main(["rerun", str(tmp_path / "g.webp")]) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a fox"], "There is no --x"),
        (["a fox", "--x", "steps=1,2", "--y", "steps=3,4"], "both change steps"),
        (["a fox", "--x", "steps=1,2", "--seed", "1,2"], "one --seed"),
        (["--x", "steps=1,2"], "There is no PROMPT"),
        (["a fox", "--x", "steps=0,2"], "out of range"),
    ],
)
def test_a_grid_that_cannot_be(words, sentence, capsys):
    assert main(["grid", *words]) == 2
    assert sentence in capsys.readouterr().err
