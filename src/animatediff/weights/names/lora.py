"""Tensor names in LoRA files of every trainer: which layer, and which part of its change.

A name consists of a layer and a part. The layer may be dotted or underscored, named as in diffusers or
as in single files, and belong to the U-Net or a text encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from animatediff.weights.image_model.single_file import UNET, unet_sources
from animatediff.weights.names.low_rank import FACTOR_ENDINGS, adapter_in, without_adapter

if TYPE_CHECKING:
    from torch import nn

_PIECES = {
    **FACTOR_ENDINGS,
    "mid": (".lora_mid.weight",),
    "magnitude": (".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight"),
    "difference": (".diff", ".w_norm"),
    "bias_difference": (".diff_b", ".b_norm"),
    "oft_blocks": (".oft_blocks",),
    "oft_diag": (".oft_diag",),
    "oft_triangles": (".oft_R.weight",),
    "oft_scaled": (".oft_R.scaled_oft",),
    "rescale": (".rescale",),
    "on_input": (".on_input",),
    **{
        piece: (f".{piece}",)
        for n in "12"
        for piece in (f"hada_w{n}_a", f"hada_w{n}_b", f"hada_t{n}")
    },
    **{f"lokr_{w}": (f".lokr_{w}",) for w in ("w1", "w2", "w1_a", "w1_b", "w2_a", "w2_b", "t2")},
    **{f"glora_{w}": (f".{w}.weight",) for w in ("a1", "a2", "b1", "b2")},
    "gain": (".weight",),
}
"""What each piece of a change is called; the longest ending that fits counts."""
_ENDINGS = sorted(
    ((ending, piece) for piece, endings in _PIECES.items() for ending in endings),
    key=lambda pair: -len(pair[0]),
)
_PROCESSOR = re.compile(r"(.+)\.processor\.(to_q|to_k|to_v|to_out)")
_WRAPPERS = ("base_model.model.", "unet.", "diffusion_model.", UNET)

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_UNET_PREFIXES = ("lora_unet_", "oft_unet_", "lycoris_", "lycoris_unet_")
"""What comes before a layer's name with underscores: kohya's, kohya's for OFT, and LyCORIS'."""
_COMFY_ENCODERS = {"text_encoder": ("clip_l", "clip_h"), "text_encoder_2": ("clip_g",)}
"""What ComfyUI calls the text encoders: that of Stable Diffusion 1, that of 2, and SDXL's second."""
_NO_CHANGE_ALONE = frozenset({"alpha", "rescale", "gain", "oft_scaled"})
"""Pieces that change nothing by themselves; a bare weight may be a model's own."""


@dataclass(frozen=True)
class LoraNames:
    """All names of a LoRA file.

    Attributes:
        layers: for every layer with a change, the file's name of each part.
        without_change: layers whose parts form no known kind of change.
        unread: names that are no part of a change.
        adapters: names of PEFT's adapters in the file.
    """

    layers: Mapping[str, Mapping[str, str]]
    without_change: tuple[str, ...]
    unread: tuple[str, ...]
    adapters: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether most names are parts of changes, as in a LoRA."""
        pieces = sum(map(len, self.layers.values()))
        return pieces > 0 and 2 * pieces >= pieces + len(self.unread)


def read_names(names: Iterable[str]) -> LoraNames:
    """Parse all names of a LoRA file; both recogniser and loader use this."""
    layers: dict[str, dict[str, str]] = {}
    unread: list[str] = []
    adapters: dict[str, None] = {}
    for name in names:
        split = split_name(name)
        if split is None:
            unread.append(name)
            continue
        layers.setdefault(split[0], {})[split[1]] = name
        if (adapter := adapter_in(name)) is not None:
            adapters[adapter] = None
    without: list[str] = []
    for stem, pieces in list(layers.items()):
        if pieces.keys() <= _NO_CHANGE_ALONE:
            unread += pieces.values()
            if "alpha" in pieces:
                without.append(stem)
            del layers[stem]
    return LoraNames(layers, tuple(without), tuple(unread), tuple(adapters))


def split_name(name: str) -> tuple[str, str] | None:
    """Return the file's name of the layer, and the part; ``None`` if it is not a LoRA's name."""
    name = without_adapter(name)
    for ending, piece in _ENDINGS:
        if name.endswith(ending) and len(name) > len(ending):
            stem = name.removesuffix(ending)
            processor = _PROCESSOR.fullmatch(stem)
            return (f"{processor[1]}.{processor[2]}" if processor else stem), piece
    return None


def layer_names(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """Map every name that a file may use for a layer to ``network:path``.

    Args:
        networks: ``unet``, ``text_encoder`` and, for SDXL, ``text_encoder_2``.
    """
    names: dict[str, str] = {}
    for network, module in networks.items():
        paths = [path for path, layer in module.named_modules() if hasattr(layer, "weight")]
        if network == "unet":
            names |= _unet_names(module, paths)
        elif network in TEXT_ENCODERS:
            names |= _text_names(network, paths, alone="text_encoder_2" not in networks)
    return names


def find_layer(stem: str, names: Mapping[str, str]) -> str | None:
    """Return the layer in ``names`` that a file's name means."""
    found = names.get(stem)
    if found is None and stem.startswith(_WRAPPERS):
        wrapper = next(wrapper for wrapper in _WRAPPERS if stem.startswith(wrapper))
        return find_layer(stem.removeprefix(wrapper), names)
    return found


def _unet_names(unet: nn.Module, paths: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    layers = getattr(unet, "config")["layers_per_block"]  # noqa: B009 - diffusers' types know no config
    state = list(unet.state_dict())
    sources = unet_sources(
        [name for name in state if ".motion_modules." not in name], layers_per_block=int(layers)
    )
    ldm = {
        name.removesuffix(".weight"): source.name.removeprefix(UNET).removesuffix(".weight")
        for name, source in sources.items()
        if name.endswith(".weight")
    }
    for path in paths:
        layer = f"unet:{path}"
        for spelled in {path, path.removesuffix(".0") if path.endswith(".to_out.0") else path}:
            names[spelled] = layer
        for dotted in (path, ldm.get(path)):
            if dotted is not None:
                names.setdefault(dotted, layer)
                underscored = dotted.replace(".", "_")
                for prefix in _UNET_PREFIXES:
                    names.setdefault(f"{prefix}{underscored}", layer)
    return names


def _text_names(network: str, paths: Iterable[str], *, alone: bool) -> dict[str, str]:
    names: dict[str, str] = {}
    number = "2" if network == "text_encoder_2" else "1"
    prefixes = (f"lora_te{number}_", f"lycoris_te{number}_")
    prefixes += ("lora_te_", "lycoris_te_", "lycoris_") if number == "1" else ("lycoris_te_2_",)
    comfy = _COMFY_ENCODERS[network]
    for path in paths:
        layer, bare = f"{network}:{path}", path.removeprefix("text_model.")
        nested = bare if bare.startswith("text_projection") else f"text_model.{bare}"
        for dotted in {bare, nested}:
            names[f"{network}.{dotted}"] = layer
            for encoder in comfy:
                names[f"text_encoders.{encoder}.transformer.{dotted}"] = layer
                names[f"{encoder}.transformer.{dotted}"] = layer
            for prefix in prefixes:
                names[prefix + dotted.replace(".", "_")] = layer
            if alone:
                names[dotted] = layer
    return names
