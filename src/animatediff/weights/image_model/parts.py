"""Networks without values, paired with the files that have them; every name and shape is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from animatediff.errors import FileError
from animatediff.model.without_values import without_values
from animatediff.runtime import channels_last
from animatediff.weights.image_model.single_file import Source
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_weights

if TYPE_CHECKING:
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

M = TypeVar("M", bound=nn.Module)
C = TypeVar("C", bound="CLIPTextModel | CLIPTextModelWithProjection")

_INERT = ("position_ids", "logit_scale")
"""Names that end so are in some files, and in no network."""


@dataclass(frozen=True)
class Part:
    """A network without values, and the file that has them.

    Attributes:
        module: on the meta device.
        header: of the file, with only the names that are read.
        sources: the place in the file of each of the module's tensors.
        notes: sentences about parts of the file that are not used.
    """

    module: nn.Module
    header: Header
    sources: Mapping[str, Source]
    notes: tuple[str, ...] = ()

    def fill(
        self, *, dtype: torch.dtype, device: torch.device, convolutional: bool = False
    ) -> None:
        """Read the file into the module, with convolutions in the fastest memory layout."""
        weights = read_weights(self.header, dtype=dtype, device=device, channels_last=convolutional)
        named = {
            name: self.sources[name].take(weights[self.sources[name].name], wanted=shape)
            for name, shape in _shapes(self.module).items()
        }
        self.module.load_state_dict(named, strict=True, assign=True)
        _fill_positions(self.module, device=device)
        self.module.requires_grad_(False).eval()
        if convolutional:
            channels_last(self.module)


@dataclass(frozen=True)
class Pending:
    """A convolutional network that is read at its first use.

    Attributes:
        part: the network and its file.
        dtype: of its values.
        device: of its values.
    """

    part: Part
    dtype: torch.dtype
    device: torch.device

    @cached_property
    def module(self) -> nn.Module:
        """The network with its values."""
        self.part.fill(dtype=self.dtype, device=self.device, convolutional=True)
        return self.part.module

    def to(self, device: torch.device) -> Pending:
        """Return the network for another device; it moves at once if it was read already."""
        moved = replace(self, device=device)
        if "module" in vars(self):
            vars(moved)["module"] = self.module.to(device)
        return moved


def pair(
    module: nn.Module,
    header: Header,
    sources: Mapping[str, Source],
    *,
    prefix: str = "",
    spare: tuple[str, ...] = (),
) -> Part:
    """Pair a network with a file whose names under ``prefix`` are this network's.

    Args:
        module: on the meta device.
        header: of the file.
        sources: the expected place in the file of each tensor.
        prefix: names without it are ignored.
        spare: beginnings of names that may be present and are not read.

    Raises:
        FileError: a name is missing, a shape differs, or more than a tenth of the names is unknown.
    """
    found: dict[str, tuple[int, ...]] = {}
    wanted: dict[str, tuple[int, ...]] = {}
    for name, shape in _shapes(module).items():
        source = sources[name]
        wanted[str(source)] = shape
        if source.name in header.shapes:
            found[str(source)] = source.shape(header.shapes[source.name], wanted=shape)
    read = {source.name for source in sources.values()}
    unread = {
        name: shape
        for name, shape in header.shapes.items()
        if name.startswith(prefix)
        and name not in read
        and not name.endswith(_INERT)
        and not name.startswith(spare)
    }
    notes = check_fit(
        Header(header.path, found | unread, header.metadata),
        wanted,
        role=f"what its {type(module).__name__} needs",
    )
    kept = {name: header.shapes[name] for name in header.shapes if name in read}
    return Part(module, Header(header.path, kept, header.metadata), sources, notes)


def build_part(path: Path, cls: type[M], config: Mapping[str, Any]) -> M:
    """Build a network of diffusers from its configuration, without values.

    Raises:
        FileError: the configuration is not valid.
    """
    construct: Callable[[Mapping[str, Any]], M] = cls.from_config  # pyright: ignore[reportAttributeAccessIssue]
    return build_from(path, lambda: construct(config))


def build_text_encoder(path: Path, cls: type[C], config: Mapping[str, Any]) -> C:
    """Build a text encoder of CLIP from its configuration, without values.

    Raises:
        FileError: the configuration is not valid.
    """
    from transformers.models.clip.configuration_clip import CLIPTextConfig

    return build_from(path, lambda: cls(CLIPTextConfig.from_dict(dict(config))))


def build_from(path: Path, build: Callable[[], M]) -> M:
    """Build a network without values with ``build``; ``path`` is named in errors.

    Raises:
        FileError: the configuration is not valid.
    """
    try:
        with without_values():
            return build()
    except Exception as error:  # noqa: BLE001 - a constructor given foreign values may raise anything
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise FileError(f"{path} describes no network that can be built ({reason}).") from None


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _fill_positions(module: nn.Module, *, device: torch.device) -> None:
    """Fill CLIP's position ids, which files lack."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            assert name.endswith("position_ids"), name
            owner, _, leaf = name.rpartition(".")
            numbers = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
            setattr(module.get_submodule(owner), leaf, numbers)
