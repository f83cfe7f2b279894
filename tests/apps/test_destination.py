"""Where results go is decided, and tried, before any work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animatediff.apps.destination import Destination, check_room, plan_destination, slug
from animatediff.errors import InputError, OutputError

KNOWN = ("mp4", "gif", "webp")


def plan(output: str | None, formats: str | None = None) -> tuple[Path, ...]:
    where = Path(output) if output is not None else None
    return plan_destination(where, formats=formats, known=KNOWN, name="fox-0").paths()


@pytest.mark.parametrize(
    ("output", "formats", "paths"),
    [
        ("fox.mp4", None, ["fox.mp4"]),
        ("out/fox.GIF", None, ["out/fox.gif"]),
        ("fox", "gif", ["fox.gif"]),
        ("fox.mp4", "gif, webp", ["fox.gif", "fox.webp"]),
        ("fox.v2", "mp4", ["fox.v2.mp4"]),
        ("fox.mp4", "mp4,mp4", ["fox.mp4"]),
        (None, None, ["fox-0.mp4"]),
        (None, "gif", ["fox-0.gif"]),
    ],
)
def test_name_and_formats_together_say_which_files(output, formats, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan(output, formats) == tuple(map(Path, paths))


@pytest.mark.parametrize(
    ("output", "formats", "words"),
    [
        ("fox.mpeg4", None, "did you mean mp4"),
        ("fox.exe", None, "one of mp4, gif, webp"),
        ("fox", None, "no suffix that says its format"),
        ("fox.mp4", "mp5", "did you mean mp4"),
        (".", "mp4", "is a folder"),
    ],
)
def test_what_cannot_be_written_is_named(output, formats, words):
    with pytest.raises(InputError, match=words):
        plan(output, formats)


def test_a_name_of_our_own_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("fox-0.mp4", "fox-0-2.mp4", "fox-0-3.mp4"):
        (path,) = plan(None)
        assert path == Path(expected)
        path.touch()


def test_none_of_several_files_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fox-1.mp4").touch()
    planned = plan_destination(None, formats=None, known=KNOWN, name="fox", labels=["", "1", "2"])
    assert planned.stem == "fox-2"


def test_a_writable_folder_passes_and_is_left_as_it_was(tmp_path):
    Destination(tmp_path, "fox", ("mp4",)).check()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"no folder .*absent"):
        Destination(tmp_path / "absent", "fox", ("mp4",)).check()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_a_folder_that_even_root_cannot_write_is_named():
    with pytest.raises(OutputError, match=r"/proc/self cannot be written"):
        Destination(Path("/proc/self"), "fox", ("mp4",)).check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        Destination(tmp_path, "fox", ("mp4",)).check()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(OutputError, match=r"is full \(1 MiB free"):
        Destination(tmp_path, "fox", ("mp4",)).check()
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_makes_a_readable_name():
    assert slug("A fox, flat style!") == "a-fox-flat-style"
    assert slug("лиса бежит") == "лиса-бежит"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("!!!") == "animation"


@given(st.text())
def test_every_prompt_makes_a_name_that_stays_in_its_folder(prompt):
    name = slug(prompt)
    assert 0 < len(name.encode()) <= 160
    assert not set(name) & set('/\\:\0 .<>"|?*\n')


def test_room_is_tried_in_the_nearest_folder_that_is_there(tmp_path):
    check_room(tmp_path / "new" / "deep" / "a.safetensors", option="-o")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"-o .*file is a file"):
        check_room(tmp_path / "file" / "a.safetensors", option="-o")
    with pytest.raises(OutputError, match="too long"):
        check_room(tmp_path / ("a" * 300), option="-o")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_room_that_even_root_does_not_have_is_named():
    with pytest.raises(OutputError, match=r"-o .*cannot be written"):
        check_room(Path("/proc/self/new/a.safetensors"), option="-o")
