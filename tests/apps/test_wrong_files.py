"""Every published kind of file given to every option that wants another, through the command line."""

from pathlib import Path

import pytest
from PIL import Image
from tests.cases import files_that_are_no_weights
from tests.weights import synthetic

from animatediff.apps.cli import main
from animatediff.weights.inspection.kinds import KINDS as FACTS
from animatediff.weights.roles import ROLES, Kind, Role, RoleName, usable_roles

KINDS = {sample.kind: name for name, sample in reversed(synthetic.SAMPLES.items())}
"""A sample of each kind of file."""

NEEDS: dict[RoleName, list[str]] = {
    "control": ["--control-input", "preview.png"],
    "ip-adapter": ["--ip-image", "preview.png", "--image-encoder", "preview.png"],
    "camera": ["--camera-path", "zoom-in"],
    "object-motion": ["--object-path", "0.2,0.5 0.8,0.5"],
    "upscaler": ["--upscale", "2"],
    "interpolator": ["--interpolate", "2"],
}
"""What an option needs besides."""


def wrong_kinds(role: Role) -> list[Kind]:
    """The kinds that its option refuses, in an order of its own."""
    found = [kind for kind in KINDS if kind not in role.kinds]
    start = list(ROLES).index(role.name) % len(found)
    return found[start:] + found[:start]


def refused(role: Role, kind: Kind, folder: Path, capsys) -> None:
    """Give the role's option a file of another kind, at its real size, and check the sentence."""
    Image.new("RGB", (8, 8)).save(folder / "preview.png")
    path = synthetic.write_sparse(folder / f"{kind}.safetensors", KINDS[kind])
    rest = ["--progress", "none", "-o", "x.mp4", *NEEDS.get(role.name, [])]
    code = main(["animate", "a fox", role.option, path.name, *rest])
    said = capsys.readouterr().err.strip()
    assert code == 3, said
    assert "\n" not in said, said
    assert path.name in said, said
    assert FACTS[kind].title in said, said
    if (role.name, kind) != ("lora", "adapter"):  # low-rank layers too, so only their sizes differ
        assert any(FACTS[right].title in said for right in role.kinds), said
        assert role.option in said, said
        assert FACTS[kind].use in said, said
    path.unlink()
    assert [left.name for left in folder.iterdir()] == ["preview.png"]


@pytest.mark.parametrize("role", usable_roles(), ids=lambda role: role.name)
def test_a_wrong_file_is_named_for_every_role(role: Role, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused(role, wrong_kinds(role)[0], tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("role", usable_roles(), ids=lambda role: role.name)
def test_each_wrong_file_is_named_in_one_sentence(role: Role, tmp_path, monkeypatch, capsys):
    """All pairs."""
    monkeypatch.chdir(tmp_path)
    for kind in wrong_kinds(role):
        refused(role, kind, tmp_path, capsys)


def no_weights(folder: Path) -> dict[str, str]:
    """Write the files into a folder; return what each is."""
    for name, (content, _) in files_that_are_no_weights.FILES.items():
        (folder / name).write_bytes(content)
    return {name: title for name, (_, title) in files_that_are_no_weights.FILES.items()}


@pytest.mark.parametrize("role", usable_roles(), ids=lambda role: role.name)
def test_a_file_without_weights_is_named_by_what_it_is_for_every_role(
    role, tmp_path, monkeypatch, capsys
):
    """A text file was said to have a header of 8386104280731426851 bytes."""
    no_weights(tmp_path)
    monkeypatch.chdir(tmp_path)
    rest = ["--progress", "none", "-o", "x.mp4", *NEEDS.get(role.name, [])]
    assert main(["animate", "a fox", role.option, "README.md", *rest]) == 3
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"animatediff: README.md is a text file; {role.option} needs ")
    assert all(FACTS[kind].title in said for kind in role.kinds)
    assert "\n" not in said


def test_each_file_without_weights_is_named_by_its_content(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, title in no_weights(tmp_path).items():
        for command in (["inspect", name], ["animate", "a fox", "--lora", name, "-o", "x.mp4"]):
            assert main(command) == 3, command
            said = capsys.readouterr().err.strip()
            assert title in said or (title == "a zip archive" and "a zip file" in said), said
            assert "\n" not in said


def test_a_network_for_finishing_of_another_kind_is_refused_before_loading(tmp_path, capsys):
    """It was opened after the last frame was drawn."""
    path = synthetic.write(tmp_path / "x.safetensors", "lora-sd15")
    for option, more in (("--upscaler", "--upscale"), ("--interpolator", "--interpolate")):
        command = ["animate", "a fox", option, str(path), more, "2", "--progress", "json"]
        assert main([*command, "-o", str(tmp_path / "x.mp4")]) == 3
        said = capsys.readouterr()
        assert f"{option} needs" in said.err, said.err
        assert '"step"' not in said.err + said.out
