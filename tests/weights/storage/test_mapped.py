"""Numbers where they lie in a file: the same as copied, and let go of once they are."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from animatediff.weights.storage.files import Header, read_header, read_weights
from animatediff.weights.storage.mapped import DTYPES, Mapped
from animatediff.weights.storage.read_ahead import read_ahead


@pytest.fixture
def every_dtype() -> dict[str, Tensor]:
    """A tensor of each type, of lengths that leave the next where it is not aligned."""
    bits = torch.arange(3, dtype=torch.uint8)
    made = {name: bits.to(dtype) for name, dtype in DTYPES.items()}
    return made | {"none": torch.empty(0, 4), "one": torch.tensor(2.5)}


def test_every_type_of_number_is_read_as_it_was_written(
    tmp_path: Path, every_dtype: dict[str, Tensor]
) -> None:
    path = tmp_path / "all.safetensors"
    save_file(every_dtype, path)
    read = read_weights(read_header(path))
    assert set(read) == set(every_dtype)
    for name, wanted in load_file(path).items():
        assert read[name].dtype == wanted.dtype == every_dtype[name].dtype
        assert read[name].shape == wanted.shape
        assert torch.equal(read[name].double(), wanted.double()), name


def test_numbers_that_are_not_aligned_are_read(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    numbers = torch.tensor([1.5, -2.0, 3.25])
    path.write_bytes(b"x" + numbers.numpy().tobytes())
    with path.open("rb") as file:
        mapped = Mapped(file)
    assert torch.equal(mapped.tensor(torch.float32, (3,), begin=1), numbers)


def test_a_few_of_many_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    many = {f"{number:03}": torch.full((999,), float(number)) for number in range(100)}
    save_file(many, tmp_path / "many")
    header = read_header(tmp_path / "many")
    few = dict(list(header.shapes.items())[::30])
    read = read_weights(Header(header.path, few, header.metadata))
    assert read.keys() == few.keys()
    assert all(torch.equal(read[name], many[name]) for name in few)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system lets go by itself")
def test_what_was_let_go_of_is_read_anew_and_its_neighbours_are_untouched(tmp_path: Path) -> None:
    path = tmp_path / "large"
    numbers = torch.arange(1 << 16, dtype=torch.float32)
    path.write_bytes(numbers.numpy().tobytes())
    with path.open("rb") as file:
        mapped = Mapped(file)
    whole = mapped.tensor(torch.float32, (1 << 16,), begin=0)
    # Of pages that do not lie wholly between the two bytes, and of one that does.
    whole[0], whole[-1], whole[1 << 15] = -1, -1, -1
    mapped.forget(begin=4, end=4 * len(numbers) - 4)
    assert (whole[0], whole[-1]) == (-1, -1)
    assert torch.equal(whole[1:-1], numbers[1:-1])
    assert path.read_bytes() == numbers.numpy().tobytes()


def test_convolutions_are_laid_out_as_they_run_and_hold_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "conv.safetensors"
    weights = {"conv": torch.randn(4, 3, 3, 3), "linear": torch.randn(4, 3)}
    save_file({name: tensor.half() for name, tensor in weights.items()}, path)
    read = read_weights(read_header(path), dtype=torch.float32, channels_last=True)
    assert read["conv"].is_contiguous(memory_format=torch.channels_last)
    for name, tensor in weights.items():
        assert torch.equal(read[name], tensor.half().float())


def test_reading_ahead_leaves_what_is_wrong_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_bytes(bytes(1 << 20))
    thread = read_ahead([tmp_path / "missing", tmp_path, path])
    thread.join(timeout=60)
    assert not thread.is_alive()
