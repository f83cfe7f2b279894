"""``animatediff inspect`` says what files are, to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.weights import synthetic

from animatediff.apps.cli import main


def test_a_file_is_named_with_its_reasons_and_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = synthetic.write_sparse(tmp_path / "x.safetensors", "motion-lora-v2")
    assert main(["inspect", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is a MotionLoRA for AnimateDiff v2, for Stable Diffusion 1.5" in printed
    assert "because it has low-rank pairs on temporal attentions" in printed
    assert "19,333,120 parameters, F16" in printed
    assert "rank 64" in printed
    assert "use give it to --motion-lora" in printed


def test_a_pickle_is_to_be_converted_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = synthetic.write_pickle(tmp_path / "x.ckpt", "motion-lora-v2")
    assert main(["inspect", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "in a pickle" in printed
    assert "animatediff convert, then give it to --motion-lora" in printed


def test_what_cannot_be_used_yet_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = synthetic.write_sparse(tmp_path / "x.safetensors", "sd15-inpainting", size="small")
    assert main(["inspect", str(path)]) == 0
    assert "use      not supported yet" in capsys.readouterr().out


def test_programs_get_json_and_one_broken_file_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = synthetic.write_sparse(tmp_path / "good", "embedding-sdxl")
    (tmp_path / "bad").write_bytes(b"PK\x03\x04")
    assert main(["inspect", str(tmp_path / "bad"), str(good), "--json"]) == 3
    printed = capsys.readouterr()
    bad, fine = json.loads(printed.out)
    assert "zip file" in bad["error"]
    assert (fine["kind"], fine["base"], fine["path"]) == ("embedding", "sdxl", str(good))
    assert printed.err.startswith("animatediff: ")


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nothing")]) == 3
    assert "nothing cannot be read: no such file" in capsys.readouterr().err


def test_no_file_at_all_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "needs a file or folder" in capsys.readouterr().err


def test_files_are_named_without_torch(tmp_path: Path) -> None:
    """A server inspects every upload in a process of its own, which torch would keep for seconds."""
    files = [
        synthetic.write_sparse(tmp_path / "a.safetensors", "motion-v3"),
        synthetic.write_sparse(tmp_path / "b.safetensors", "lora-sd15"),
        synthetic.write_pickle(tmp_path / "c.ckpt", "motion-lora-v2"),
        tmp_path / "d.safetensors",
    ]
    files[-1].write_bytes(b"no weights")
    program = (
        "import sys; from animatediff.apps.cli import main; "
        "code = main(['inspect', *sys.argv[1:]]); sys.exit(100 if 'torch' in sys.modules else code)"
    )
    line = [sys.executable, "-c", program, *map(str, files)]
    assert subprocess.run(line, capture_output=True, check=False).returncode == 3
