"""What is known of a file once it was looked at, and what a sentence calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from animatediff.weights.families import BASES, FAMILIES
from animatediff.weights.inspection.kinds import BASE_TITLES, KINDS, Kind
from animatediff.weights.inspection.name_rules import VERSION_TITLES

Container = Literal["safetensors", "pickle", "folder"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file is.

    Attributes:
        path: the file or folder.
        container: how it is stored.
        kind: what it is for.
        family: the generation or version it is of: a motion family, or an image model.
        version: the variant, such as a LoRA's flavour; empty if there is one only.
        layout: whose names it has.
        base: the image model it fits: ``sd15``, ``sd2``, ``sdxl``, or ``own`` for another shape;
            empty if that cannot be told.
        reasons: why it is thought to be that.
        also: other families that its names and shapes fit just as well.
        alternatives: other kinds that they fit just as well.
        ranks: inner widths of its low-rank pairs.
        parameters: how many numbers were learned.
        dtypes: how many tensors there are of each type.
        num_tensors: how many tensors it holds.
        num_bytes: its size.
        warnings: what to know before using it.
        refusal: why nothing here takes it although its kind is known; empty if something does.
    """

    path: Path
    container: Container
    kind: Kind
    family: str = ""
    version: str = ""
    layout: str = ""
    base: str = ""
    reasons: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    alternatives: tuple[Kind, ...] = ()
    ranks: tuple[int, ...] = ()
    parameters: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict[str, int])
    num_tensors: int = 0
    num_bytes: int = 0
    warnings: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def title(self) -> str:
        """What a sentence calls it: kind, family and image model."""
        return "".join([KINDS[self.kind].title, *_details(self)])


def _details(found: Inspection) -> Iterator[str]:
    """The rest of a title: version, family, and the image model it is for."""
    if found.kind == "other":
        yield f" ({found.family})"
        return
    if found.version in VERSION_TITLES:
        yield f" ({VERSION_TITLES[found.version]})"
    if found.family == "sdxl-refiner":
        yield ", SDXL's refiner"
        return
    family = FAMILIES.get(found.family)
    if family is not None and family.base == "own":
        yield f" of {BASES[family.base]}"
        return
    if family is not None:
        others = [FAMILIES[name].title for name in found.also if name in FAMILIES]
        yield f" {'for' if found.kind == 'motion-lora' else 'of'} {family.title}"
        yield f" (or {_listed(others)})" if others else ""
    if found.base in BASE_TITLES:
        whole = found.kind in ("checkpoint", "unet", "text-encoder")
        yield f"{', for' if family is not None else ' of' if whole else ' for'} "
        yield BASE_TITLES[found.base]


def _listed(names: list[str]) -> str:
    """Families of one maker are named once."""
    short = list(dict.fromkeys(name.partition(",")[0] for name in names))
    return " or ".join(short)
