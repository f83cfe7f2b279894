"""Files of requests: what each format may say, and which row an error names."""

import json

import pytest

from animatediff.apps.many.entries import read_entries
from animatediff.errors import FileError, InputError


def read(path, text, **overrides):
    path.write_text(text, encoding="utf-8")
    return read_entries(path, overrides=overrides)


def test_every_format_says_the_same(tmp_path):
    toml = read(
        tmp_path / "a.toml",
        'steps = 8\n[[request]]\nprompt = "a fox"\nseed = [1, 2]\n'
        'motion-lora = ["zoom-in:1"]\n[[request]]\nprompt = "an owl"\nsize = "64x32"\nsteps = 4\n',
    )
    lines = read(
        tmp_path / "a.jsonl",
        json.dumps({"prompt": "a fox", "seed": "1-2", "steps": 8, "motion_loras": ["zoom-in:1"]})
        + "\n\n"
        + json.dumps({"prompt": "an owl", "width": 64, "height": 32, "steps": 4}),
    )
    table = read(
        tmp_path / "a.csv",
        'prompt,seed,steps,motion-lora,size\na fox,"1,2",8,zoom-in:1,\nan owl,,4,,64x32\n',
    )
    requests = [entry.request for entry in toml]
    assert [entry.request for entry in lines] == requests
    assert [entry.request for entry in table] == requests
    assert [request.seed for request in requests] == [1, 2, 0]
    assert requests[0].motion_loras == ("zoom-in:1",)
    assert (requests[2].width, requests[2].height, requests[2].steps) == (64, 32, 4)


def test_lines_of_prompts_and_overrides(tmp_path):
    entries = read(tmp_path / "a.txt", "a fox\n# not this\n\nan owl, 3d\n", steps=3, seed=9)
    assert [entry.request.prompt for entry in entries] == ["a fox", "an owl, 3d"]
    assert {(entry.request.steps, entry.request.seed) for entry in entries} == {(3, 9)}


def test_names_and_formats_of_rows(tmp_path):
    (entry,) = read(tmp_path / "a.csv", 'prompt,name,format\na fox,reynard,"gif,mp4"\n')
    assert (entry.name, entry.formats) == ("reynard", ("gif", "mp4"))


@pytest.mark.parametrize(
    ("name", "text", "kind", "words"),
    [
        (
            "a.csv",
            "prompt,stepz\na fox,3\n",
            InputError,
            "line 2 has no field 'stepz'; did you mean",
        ),
        ("a.csv", "prompt,cfg\na fox,3\n", InputError, "use guidance"),
        ("a.csv", "prompt,steps\na fox,many\n", InputError, "line 2: steps = 'many'"),
        ("a.csv", "prompt,steps\na fox,0\n", InputError, "line 2: steps = 0 is out of range"),
        ("a.csv", "text\na fox\n", FileError, "no column prompt"),
        ("a.csv", "prompt\na fox, flat\n", FileError, "double quotes"),
        ("a.csv", "prompt,seed\na fox,-1\n", InputError, "another seed each time"),
        ("a.jsonl", '{"prompt": "a"}\n{oops\n', FileError, "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", FileError, "neither an object nor a text"),
        ("a.toml", "[[request]]\nsteps = 3\n", InputError, "request 1 has no prompt"),
        ("a.toml", "[[request]\n", FileError, "is not TOML"),
        ("a.txt", "\n", InputError, "has no requests"),
        ("a.yaml", "a: b", FileError, "does not end in"),
    ],
)
def test_an_error_names_the_row(tmp_path, name, text, kind, words):
    with pytest.raises(kind, match=words):
        read(tmp_path / name, text)
