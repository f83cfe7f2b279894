"""The result of identifying a file, and its title for sentences."""

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
    """The result of identifying a file.

    Attributes:
        path: the file or folder.
        container: the file format.
        kind: what it contains.
        family: a motion family or an image model's generation.
        version: the variant, such as a LoRA's type; empty if there is only one.
        layout: the layout of its names.
        base: the image model it fits: ``sd15``, ``sd2``, ``sdxl``, or ``own`` for another shape;
            empty if unknown.
        reasons: of the identification.
        also: other families with the same names and shapes.
        alternatives: other kinds with the same names and shapes.
        ranks: of its low-rank branches.
        parameters: number of parameters.
        dtypes: number of tensors of each type.
        num_tensors: number of tensors.
        num_bytes: its size.
        warnings: sentences for the user.
        refusal: why the file cannot be used; empty if it can.
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
        """Kind, family and image model, for sentences."""
        return "".join([KINDS[self.kind].title, *_details(self)])


def _details(found: Inspection) -> Iterator[str]:
    """Return the rest of a title: version, family and image model."""
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
    """Join families, with each maker's name once."""
    short = list(dict.fromkeys(name.partition(",")[0] for name in names))
    return " or ".join(short)
