"""Image LoRAs of every kind: what a file changes is known before any tensor is read.

Each layer that a file names is looked up in the model, its tensors are combined into one of the
forms of ``model/grafts/weight_delta.py``, and the form is tried on shapes alone. Layers that the model
lacks are counted and reported. A file that does not fit at all is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from animatediff.errors import FileError
from animatediff.model.grafts.weight_delta import (
    Change,
    DecomposedDelta,
    FullDelta,
    GainDelta,
    GeneralisedDelta,
    HadamardDelta,
    InputRotationDelta,
    KroneckerDelta,
    LowRankDelta,
    OrthogonalDelta,
    RotationDelta,
    WeightDelta,
    shaped_like,
)
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.loader import Host
from animatediff.weights.names.lora import find_layer, layer_names, read_names
from animatediff.weights.storage.completeness import counted
from animatediff.weights.storage.files import Header, read_header, read_json, read_weights

Pieces = dict[str, Tensor]


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file, before its values are read.

    Attributes:
        header: of the file.
        layers: for every layer, the file's name of each tensor.
        config: the trainer's configuration, with PEFT's keys.
        without_change: layers that it names without any known tensor for their change.
        unread: tensors that belong to no known kind of LoRA.
    """

    header: Header
    layers: Mapping[str, Mapping[str, str]]
    config: Mapping[str, Any]
    without_change: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in results."""
        return self.header.path.stem


@dataclass(frozen=True)
class LoraPlan:
    """A LoRA matched to a model, before its values are read.

    Attributes:
        lora: the file.
        places: the model's layer, for every layer of the file that the model has.
        absent: the file's names of layers that the model lacks.
    """

    lora: LoraFile
    places: Mapping[str, nn.Module]
    absent: tuple[str, ...]

    def load(self, *, device: torch.device) -> LoadedLora:
        """Read the values, in the file's precision.

        Raises:
            FileError: the file has changed, or contains NaN or infinity.
        """
        header = self.lora.header
        used = {
            key: header.shapes[key] for s in self.places for key in self.lora.layers[s].values()
        }
        weights = read_weights(replace(header, shapes=used), device=device, refuse_nan=True)
        changes: list[Change] = []
        for stem, layer in self.places.items():
            pieces = {piece: weights[key] for piece, key in self.lora.layers[stem].items()}
            changes += _changes(layer, pieces, said=_said(self.lora, stem, pieces))
        return LoadedLora(tuple(changes), self.coverage, self.absent, self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about parts of the file without effect."""
        name, unread, absent = self.lora.name, self.lora.unread, self.absent
        notes: list[str] = []
        if absent:
            notes.append(
                f"Of the LoRA {name} this model has {self.coverage}; it lacks {absent[0]:.100}"
                f"{' and others' if len(absent) > 1 else ''}."
            )
        if unread:
            notes.append(
                f"The LoRA {name} also has {counted(unread)} of no supported flavour, which "
                f"{'was' if len(unread) == 1 else 'were'} left out."
            )
        return tuple(notes)

    @property
    def coverage(self) -> str:
        """How many of the file's modules are changed."""
        named = len(self.places) + len(self.absent) + len(self.lora.without_change)
        return f"{len(self.places)}/{named} modules"


@dataclass(frozen=True)
class LoadedLora:
    """A loaded LoRA.

    Attributes:
        changes: of the model's weights; ``model/grafts/merging.py`` merges them.
        coverage: such as ``192/192 modules``.
        absent: the file's names of layers that the model lacks.
        notes: sentences about parts of the file without effect.
    """

    changes: tuple[Change, ...]
    coverage: str
    absent: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_lora(path: Path) -> LoraFile:
    """Read a LoRA's header.

    Raises:
        FileError: the file is broken, or is not a LoRA.
    """
    header = read_header(path)
    found = inspect_header(header)
    # A domain adapter is also an image LoRA; an unrecognised file may still be of a known kind.
    if found.kind not in ("lora", "adapter", "unknown"):
        check_kind(found, "lora")
    names = read_names(header.shapes)
    if not names.usable:
        raise FileError(
            f"{path} is not a LoRA: its names end neither in .lora_down.weight nor in those of "
            "another flavour that is known."
        )
    if len(names.adapters) > 1:
        raise FileError(
            f"{path} holds {len(names.adapters)} adapters, {names.adapters[0]:.60} and "
            f"{names.adapters[1]:.60} among them; save each in a file of its own."
        )
    return LoraFile(header, names.layers, _config(header), names.without_change, names.unread)


def fit_lora(lora: LoraFile, networks: Mapping[str, nn.Module]) -> LoraPlan:
    """Find a LoRA's layers in a model, and try every change on its shape.

    Args:
        lora: the file.
        networks: ``unet``, ``text_encoder`` and, for SDXL, ``text_encoder_2``; they need no
            storage.

    Raises:
        FileError: the model has none of the layers, or one with another shape.
    """
    names = layer_names(networks)
    places: dict[str, nn.Module] = {}
    absent: list[str] = []
    for stem in lora.layers:
        layer = find_layer(stem, names)
        if layer is None:
            absent.append(stem)
            continue
        network, _, path = layer.partition(":")
        places[stem] = networks[network].get_submodule(path)
    if not places:
        raise FileError(
            f"{lora.header.path} is {inspect_header(lora.header).title} and changes nothing here: "
            f"this model has 0 of its {len(absent)} modules, such as {absent[0]:.100}; choose a "
            "LoRA for this kind of model."
        )
    tried: set[tuple[object, ...]] = set()
    for stem, layer in places.items():
        _try(lora, stem, layer, tried=tried)
    return LoraPlan(lora, places, tuple(absent))


def _try(lora: LoraFile, stem: str, layer: nn.Module, *, tried: set[tuple[object, ...]]) -> None:
    """Build one layer's changes without values, unless they were ``tried`` on one just like it."""
    shapes = {piece: lora.header.shapes[key] for piece, key in lora.layers[stem].items()}
    try:
        with torch.device("meta"):
            pieces = {piece: torch.empty(shape) for piece, shape in shapes.items()}
            said = _said(lora, stem, pieces)
            parameters = ((name, p.shape) for name, p in layer.named_parameters(recurse=False))
            kind = (type(layer), layer.extra_repr(), *parameters, *shapes.items(), said)
            if kind in tried:
                return
            tried.add(kind)
            for change in _changes(layer, pieces, said=said):
                weight = torch.empty(getattr(layer, change.parameter).shape)
                shaped_like(weight, change.delta.of(weight, scale=0.5))
    except FileError:
        raise
    except Exception as error:  # noqa: BLE001 - shapes from elsewhere may offend any operation
        weight = getattr(layer, "weight", None)
        whole = "x".join(map(str, weight.shape)) if isinstance(weight, Tensor) else "none"
        reason = " ".join(str(error).split("\n")[0].split())[:120].rstrip(".")
        raise FileError(
            f"{lora.header.path} is {inspect_header(lora.header).title} and not for this model: its "
            f"{stem:.100} does not fit a weight of {whole} ({reason})."
        ) from None


@dataclass(frozen=True)
class _Said:
    """What a trainer's configuration and its names say about one layer.

    Attributes:
        alpha: as for ``LowRankDelta``.
        terms: as for ``InputRotationDelta``.
        turns_kernels: whether rotations multiply the kernels of convolutions (OneTrainer) instead of
            their inputs (PEFT).
    """

    alpha: float | None = None
    terms: int | None = 5
    turns_kernels: bool = False


def _changes(layer: nn.Module, pieces: Pieces, *, said: _Said) -> list[Change]:
    """Return the changes that one layer's tensors describe.

    Raises:
        ValueError: the tensors are of no known kind, or one is missing.
        AttributeError: a bias is changed, but the layer has none.
    """
    pieces = dict(pieces)
    changes: list[Change] = []
    bias = pieces.pop("bias_difference", None)
    if bias is not None:
        if getattr(layer, "bias", None) is None:
            raise ValueError("it changes a bias that the layer lacks")
        changes.append(Change(layer, "bias", FullDelta(bias)))
    is_kernel = getattr(getattr(layer, "weight", None), "ndim", 0) > 2
    delta = _delta(pieces, said=said, is_kernel=is_kernel)
    if delta is not None:
        changes.append(Change(layer, "weight", delta))
    return changes


def _delta(pieces: Pieces, *, said: _Said, is_kernel: bool) -> WeightDelta | None:
    """Return the kind of change of one weight, if it has tensors."""
    magnitude = pieces.pop("magnitude", None)
    factor = pieces.pop("alpha", None)
    factor = factor.float().flatten()[0] if factor is not None else said.alpha
    match sorted(pieces):
        case []:
            delta = None
        case ["down", "up"] | ["down", "mid", "up"]:
            delta = LowRankDelta(pieces["down"], pieces["up"], pieces.get("mid"), factor)
        case ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]:
            delta = HadamardDelta(*_hadamard(pieces), alpha=factor)
        case ["hada_t1", "hada_t2", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]:
            cores = pieces["hada_t1"], pieces["hada_t2"]
            delta = HadamardDelta(*_hadamard(pieces), cores=cores, alpha=factor)
        case [first, *_] if first.startswith("lokr_"):
            left, right = _kronecker(pieces, "w1"), _kronecker(pieces, "w2")
            delta = KroneckerDelta(left, right, pieces.get("lokr_t2"), factor)
        case ["difference"]:
            delta = FullDelta(pieces["difference"])
        case ["gain", "on_input"]:
            mark = pieces["on_input"]
            delta = GainDelta(pieces["gain"], on_input=not mark.is_meta and bool(mark.any()))
        case ["oft_blocks"] | ["oft_blocks", "rescale"]:
            delta = OrthogonalDelta(pieces["oft_blocks"], factor, pieces.get("rescale"))
        case ["glora_a1", "glora_a2", "glora_b1", "glora_b2"]:
            own, beside = ((pieces[f"glora_{x}1"], pieces[f"glora_{x}2"]) for x in "ab")
            delta = GeneralisedDelta(own, beside, factor)
        case ["oft_diag"]:
            delta = RotationDelta(pieces["oft_diag"])
        case ["oft_triangles"]:
            transposed = said.turns_kernels and is_kernel
            delta = InputRotationDelta(pieces["oft_triangles"], said.terms, transposed)
        case ["oft_scaled", "oft_triangles"]:
            raise ValueError(
                "it is a scaled OFT, whose factor differs between versions of trainers"
            )
        case _:
            raise ValueError(f"it has {', '.join(sorted(pieces))}, which together are no change")
    if magnitude is None:
        return delta
    if delta is None:
        raise ValueError("it has lengths and no direction")
    return DecomposedDelta(delta, magnitude)


def _hadamard(pieces: Pieces) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return (
        (pieces["hada_w1_a"], pieces["hada_w1_b"]),
        (pieces["hada_w2_a"], pieces["hada_w2_b"]),
    )


def _kronecker(pieces: Pieces, which: str) -> tuple[Tensor, ...]:
    whole = pieces.get(f"lokr_{which}")
    if whole is not None:
        return (whole,)
    return pieces[f"lokr_{which}_a"], pieces[f"lokr_{which}_b"]


def _config(header: Header) -> dict[str, Any]:
    """Read rank and alpha from our metadata, diffusers', or PEFT's file."""
    if "alpha" in header.metadata:
        return {"lora_alpha": _number(header, header.metadata["alpha"])}
    beside = header.path.with_name("adapter_config.json")
    if header.path.name == "adapter_model.safetensors" and beside.is_file():
        return read_json(beside)
    try:
        stored = json.loads(header.metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def _number(header: Header, text: str) -> float:
    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not math.isfinite(alpha):
        raise FileError(f"{header.path} says alpha = {text!r:.60}, which is not a number.")
    return alpha


def _said(lora: LoraFile, stem: str, pieces: Mapping[str, Tensor]) -> _Said:
    """Return what the trainer's configuration says about one layer."""
    config: Mapping[str, Any] = lora.config
    network = "text_encoder" if stem.startswith(("text_", "lora_te")) else "unet"
    prefix = f"{network}."
    own = {key.removeprefix(prefix): v for key, v in config.items() if key.startswith(prefix)}
    config = {**config, **own}
    return _Said(
        _configured_alpha(config, stem, pieces),
        _configured_terms(config),
        stem.startswith(("lora_unet", "lora_te")),
    )


def _configured_alpha(
    config: Mapping[str, Any], stem: str, pieces: Mapping[str, Tensor]
) -> float | None:
    """Return the alpha of one layer, if the configuration has it.

    PEFT's rank-stabilised LoRA divides by the root of the rank; alpha is adjusted for it here.
    """
    patterns = config.get("alpha_pattern")
    alpha: Any = config.get("lora_alpha")
    if isinstance(patterns, dict):
        fitting = [value for key, value in patterns.items() if stem.endswith(str(key))]
        alpha = fitting[0] if fitting else alpha
    if not isinstance(alpha, int | float) or "down" not in pieces:
        return None
    return alpha * math.sqrt(len(pieces["down"])) if config.get("use_rslora") else float(alpha)


def _configured_terms(config: Mapping[str, Any]) -> int | None:
    """Return the terms of the series for rotations; none where they are computed exactly.

    The first versions of PEFT with OFTv2 had no such setting and computed them exactly.
    """
    if not config.get("use_cayley_neumann", "oft_block_size" not in config):
        return None
    terms = config.get("num_cayley_neumann_terms", 5)
    return terms if isinstance(terms, int) and 0 < terms <= 100 else 5


class Loras:
    """Loads image LoRAs."""

    def read(self, path: Path) -> LoraFile:
        """As ``read_lora``."""
        return read_lora(path)

    def fit(self, files: Sequence[LoraFile], host: Host) -> Sequence[LoraPlan]:
        """As ``fit_lora``, each."""
        return [fit_lora(file, host.networks) for file in files]

    def fill(
        self,
        fitted: Sequence[LoraPlan],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedLora]:
        """Read the values, in the precision of each file."""
        return [plan.load(device=device) for plan in fitted]

    def move(self, added: LoadedLora, device: torch.device) -> None:
        """Do nothing: LoRAs are read again when needed."""

    def notes(self, added: LoadedLora) -> Sequence[str]:
        """Sentences about parts of the file without effect."""
        return added.notes
