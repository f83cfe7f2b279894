"""The user's defaults and model folders: shown, set, used, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.apps.cli import main
from animatediff.apps.naming import named
from animatediff.sampling.request import AnimationRequest


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder for this test alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("ANIMATEDIFF_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "animatediff"


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_what_is_set_is_shown_and_used(
    tmp_path: Path, tiny_world: Path, tiny_motion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    assert run("config", "folder", "out", capsys=capsys)[0] == 0
    assert run("config", "name", "{seed}-{prompt}", capsys=capsys)[0] == 0
    assert 'name = "{seed}-{prompt}"' in run("config", capsys=capsys)[1]
    words = ["animate", "a fox", "--model", str(tiny_world), "--motion", str(tiny_motion)]
    words += ["--frames", "2", "--steps", "1", "--seed", "7", "--format", "gif"]
    assert main([*words, "--progress", "none"]) == 0
    assert (tmp_path / "out" / "7-a-fox.gif").is_file()
    assert main([*words, "--name", "{steps}-{prompt}", "--progress", "none"]) == 0
    assert (tmp_path / "out" / "1-a-fox.gif").is_file()
    assert run("config", "name", "default", capsys=capsys)[0] == 0
    assert 'name = ""' in run("config", capsys=capsys)[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["config", "nmae", "x"], "did you mean name?"),
        (["config", "name", "{promt}"], "did you mean {prompt}?"),
        (["config", "name", "a/b"], "not a file name"),
        (["config", "folder", "missing"], "There is no folder"),
        (["models", "add"], "needs a FOLDER"),
        (["models", "add", "missing"], "There is no folder"),
        (["models", "add", "."], "has no models in the folders"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(*words, capsys=capsys)
    assert code == 2
    assert sentence in error


def test_a_folder_of_models_is_added_once(
    tmp_path: Path, tiny_lora: Path, own_configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "ComfyUI" / "models" / "loras"
    place.mkdir(parents=True)
    (place / "ink.safetensors").write_bytes(tiny_lora.read_bytes())
    for _ in range(2):
        code, said, _ = run("models", "add", "ComfyUI", capsys=capsys)
        assert code == 0
        assert "ComfyUI: 1 models" in said
    assert (own_configuration / "models.toml").read_text().count("ComfyUI") == 1
    assert "ink" in run("models", "--kind", "lora", capsys=capsys)[1]


def test_a_template_names_by_any_field() -> None:
    request = AnimationRequest("A fox, flat!", seed=3, steps=8, motion_loras=("zoom-in:1",))
    name = named("{number}-{motion-lora}-{prompt}-{steps}", request, number=2, key="0" * 64)
    assert name == "0002-zoom-in-1-a-fox-flat-8"
