"""An image model shared out among processes teaches what a whole one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_models import new_unet
from tests.training.options import changed, to_table

from animatediff.apps.cli import main
from animatediff.errors import InputError
from animatediff.training.recipe import Recipe
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.steps.processes import Processes
from animatediff.training.steps.sharding import layers_of, shard_frozen
from animatediff.world.stages.table import STAGES

SCRIPT = Path(__file__).with_name("one_stage.py")


def launched(folder: Path, stage: str, setup: StageOptions, *, count: int) -> None:
    words = [str(folder), stage, str(2 // count), json.dumps(to_table(setup))]
    begin = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    line = [*begin, str(SCRIPT), *words, "shard"] if count > 1 else [str(SCRIPT), *words]
    ended = subprocess.run(
        [sys.executable, *line],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "checkpointing"), [("motion", False), ("motion", True), ("domain-adapter", False)]
)
def test_two_processes_that_share_the_image_model_have_the_gradients_of_one(
    stage: str, checkpointing: bool, setup_of: Callable[[str, Path], StageOptions], tmp_path: Path
) -> None:
    setup = changed(setup_of(stage, tmp_path), checkpointing=checkpointing)
    files = {count: tmp_path / f"{count}.safetensors" for count in (1, 2)}
    for count, file in files.items():
        launched(tmp_path / str(count), stage, changed(setup, output=file), count=count)
    one, two = (load_file(tmp_path / str(n) / "gradients.safetensors") for n in (1, 2))
    assert one.keys() == two.keys()
    assert any(value.abs().max() > 1e-4 for value in one.values())
    assert max((one[k] - two[k]).abs().max() for k in one) < 1e-5
    learned, shared = (load_file(file) for file in files.values())
    assert learned.keys() == shared.keys()
    assert float((tmp_path / "1" / "share").read_text()) == 1
    assert 0.45 < float((tmp_path / "2" / "share").read_text()) < 0.55


def test_nearly_all_weights_are_in_layers_that_are_gathered_one_by_one() -> None:
    unet = new_unet()
    layers = list(layers_of(unet))
    assert len({id(layer) for layer in layers}) == len(layers)
    inside = sum(p.numel() for layer in layers for p in layer.parameters())
    assert inside > 0.7 * sum(p.numel() for p in unet.parameters())


def test_what_cannot_be_shared_out_is_told(
    setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "personalise-dreambooth"
    prepared = STAGES[name].prepare(setup_of(name, tmp_path), options_of(name), torch.device("cpu"))
    with pytest.raises(InputError, match="needs several processes"):
        shard_frozen(prepared, Processes())
    monkeypatch.setattr(Processes, "count", 2)
    with pytest.raises(InputError, match="no frozen image model"):
        shard_frozen(prepared, Processes())
    line = ["train", "motion", "--work", str(tmp_path), "--shard", "--validate", "a fox"]
    assert main(line) == 2
    assert "leave out --validate or --shard" in capsys.readouterr().err
