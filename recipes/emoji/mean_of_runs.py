#!/usr/bin/env python
"""Averages the weights of runs of which one began from another (model soups, arXiv 2203.05482).

usage: recipes/emoji/mean_of_runs.py OUT RUN...
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from animatediff.errors import InputError
from animatediff.weights.storage.files import read_header, read_weights, write_weights

OF_ONE_RUN = ("ss_", "modelspec.", "begun_from")
"""Beginnings of metadata that describes one run, and not the module."""


def mean_of(runs: list[Path]) -> dict[str, torch.Tensor]:
    """The mean of every tensor.

    Raises:
        InputError: the files do not hold the same tensors.
    """
    read = [read_weights(read_header(path)) for path in runs]
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in read]
    if any(each != shapes[0] for each in shapes):
        raise InputError("The runs hold different tensors; average runs of the same module.")
    return {
        name: torch.stack([each[name].float() for each in read]).mean(0) for name in sorted(read[0])
    }


def main() -> None:
    """Average the named files."""
    out, *runs = map(Path, sys.argv[1:])
    facts = read_header(runs[0]).metadata
    kept = {name: value for name, value in facts.items() if not name.startswith(OF_ONE_RUN)}
    write_weights(out, mean_of(runs), metadata=kept)


if __name__ == "__main__":
    main()
