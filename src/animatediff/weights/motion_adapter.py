"""Motion modules as diffusers saves them: a folder of weights and a configuration.

The configuration has the number of positions, which the tensors may lack, and repeats what tensors
show (widths, middle block). If the two contradict each other, one belongs to another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatediff.errors import FileError
from animatediff.weights.finding.model_folders import weight_file
from animatediff.weights.names.layouts import POSITIONS, motion_name
from animatediff.weights.storage.files import read_json

CONFIG = "config.json"
_CLASSES = ("MotionAdapter", "UNetMotionModel")


@dataclass(frozen=True)
class AdapterConfig:
    """The motion module values of a configuration; ``None`` where it has none.

    Attributes:
        path: the configuration.
        rows: number of frames with positions.
        mid: whether the middle block has a module.
        reads: input channels of its own input convolution, as PIA has.
        widths: channels of the down blocks.
    """

    path: Path
    rows: int | None
    mid: bool | None
    reads: int | None
    widths: tuple[int, ...] | None


def adapter_weights(folder: Path) -> Path:
    """Return the weight file in the folder of a motion module.

    Raises:
        FileError: the folder has no weights, only pickles, or something else.
    """
    if (folder / "model_index.json").is_file():
        raise FileError(
            f"{folder} is the folder of an image model: give it to --model, and to --motion a motion "
            "module."
        )
    if (folder / CONFIG).is_file():
        named = read_json(folder / CONFIG).get("_class_name", _CLASSES[0])
        if named not in _CLASSES:
            raise FileError(
                f"{folder} is the folder of a {named!s:.60}, and --motion needs that of a "
                f"{_CLASSES[0]}."
            )
    return weight_file(folder, part="unet")


def config_beside(weights: Path) -> AdapterConfig | None:
    """Return the configuration beside a weight file in diffusers' layout, if there is one.

    Raises:
        FileError: the configuration is not JSON.
    """
    path = weights.parent / CONFIG
    if not path.is_file():
        return None
    table = read_json(path)
    if table.get("_class_name", _CLASSES[0]) not in _CLASSES:
        return None
    widths = table.get("block_out_channels")
    return AdapterConfig(
        path,
        rows=_whole(table.get("motion_max_seq_length")),
        mid=table["use_motion_mid_block"]
        if isinstance(table.get("use_motion_mid_block"), bool)
        else None,
        reads=_whole(table.get("conv_in_channels")),
        widths=tuple(widths)
        if isinstance(widths, list) and all(_whole(width) for width in widths)
        else None,
    )


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def check_config(config: AdapterConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare a configuration with the tensors beside it.

    Raises:
        FileError: they contradict each other.
    """
    names = {name: found for name in shapes if (found := motion_name(name)) is not None}
    tables = {
        shapes[name][1]
        for name, found in names.items()
        if found.parameter == POSITIONS and len(shapes[name]) == 3
    }
    widths = {
        int(found.site.split("_")[1]): shapes[name][0]
        for name, found in names.items()
        if found.site.startswith("down_") and found.parameter == "norm.weight" and shapes[name]
    }
    mid = any(found.site.startswith("mid_") for found in names.values())
    kernel = shapes.get("conv_in.weight", (0, 0, 0, 0))
    reads = kernel[1] if len(kernel) == 4 else 0
    for what, said, there in (
        ("motion_max_seq_length", config.rows, next(iter(tables)) if len(tables) == 1 else None),
        ("use_motion_mid_block", config.mid, mid),
        ("conv_in_channels", config.reads, reads),
        (
            "block_out_channels",
            config.widths,
            tuple(width for _, width in sorted(widths.items())) or None,
        ),
    ):
        if said is not None and there is not None and said != there:
            raise FileError(
                f"{config.path} says {what} = {_shown(said)}, and the weights beside it have "
                f"{_shown(there)}: one of the two is another model's; get the folder again."
            )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "x".join(map(str, value))[:60] if isinstance(value, tuple) else str(value)
