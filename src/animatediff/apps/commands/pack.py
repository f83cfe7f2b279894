"""``animatediff pack``: copy a trained world folder into the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from animatediff.apps.destination import check_room
from animatediff.errors import FileError


@dataclass(frozen=True)
class Options:
    """Copy the trained world into a folder as fp16 safetensors."""

    work: Path = Path("build/emoji")
    """The world folder."""
    target: Path = Path("src/animatediff/builtin")
    """The package's folder of built-in models."""


def pack(options: Options) -> int:
    """Copy the models and print their sizes.

    Raises:
        FileError: there is no trained world.
        OutputError: the target cannot be written.
    """
    from animatediff.world.pack import pack_world

    if not any((options.work / "world").rglob("*.safetensors")):
        raise FileError(
            f"There is no trained world in {options.work / 'world'}; train one, or name its folder "
            "with --work."
        )
    check_room(options.target, option="--target")
    sizes = pack_world(options.work, options.target)
    for name, size in sizes.items():
        print(f"{size / 1e6:8.2f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:8.2f} MB in total")
    return 0
