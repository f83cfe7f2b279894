"""What ``inspect`` says of a file is what the loaders do with it: for every kind, in every role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.weights import synthetic

from animatediff.apps.commands.inspect import what_to_do
from animatediff.errors import FileError
from animatediff.weights.adapters import read_adapter, read_motion_lora
from animatediff.weights.image_model.single_file import published_configs, read_single_file
from animatediff.weights.inspect import check_kind, inspect, inspect_header
from animatediff.weights.inspection.kinds import KINDS, Kind
from animatediff.weights.lora import read_lora
from animatediff.weights.motion import read_motion
from animatediff.weights.storage.files import read_header
from animatediff.weights.textual_inversion import read_embedding


def read_checkpoint(path: Path) -> None:
    header = read_header(path)
    check_kind(inspect_header(header), "checkpoint")
    read_single_file(header)
    assert published_configs("sd15")


READERS: Mapping[Kind, Callable[[Path], Any]] = {
    "lora": read_lora,
    "adapter": read_adapter,
    "motion-lora": read_motion_lora,
    "motion": read_motion,
    "embedding": read_embedding,
    "checkpoint": read_checkpoint,
}
NEEDS_FAMILY = {"motion-trained"}
"""Of which two families are possible: the loader wants one named, and ``inspect`` names both."""


@pytest.mark.parametrize("name", synthetic.SAMPLES)
def test_inspect_and_the_loaders_agree(name: str, tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "x.safetensors", name)
    found = inspect(path)
    usable = "not supported yet" not in what_to_do(found)
    fits = {found.kind, *found.alternatives} if usable else set[Kind]()
    if found.kind == "adapter":
        fits.add("lora")  # a domain adapter is a LoRA of the image model, and may be given as one
    for kind, read in READERS.items():
        if kind in fits and name not in NEEDS_FAMILY:
            read(path)
            assert kind not in (found.kind, *found.alternatives) or KINDS[kind].use in what_to_do(
                found
            )
        else:
            with pytest.raises(FileError):
                read(path)
