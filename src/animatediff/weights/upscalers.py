"""Read a user's upscaler: ESRGAN, its compact form or RealPLKSR, recognised by tensor names.

ESRGAN has three sets of names: that of the first code (``model.1.sub.0.RDB1...``), of the authors'
repository (``RRDB_trunk.0.RDB1...``), and of Real-ESRGAN (``body.0.rdb1...``). All are read into one
network. Pickles are converted by the confined child first. Other architectures are read by spandrel,
where it can be imported.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from animatediff.errors import FileError, reason_of
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.model.upscalers.real_plksr import RealPLKSRUpscaler
from animatediff.model.upscalers.rrdb import RRDBUpscaler
from animatediff.weights.storage.files import is_pickle, read_header, read_weights
from animatediff.weights.storage.legacy import converted_to_safetensors

WRAPPERS = ("params_ema.", "params.", "model.state_dict.", "module.", "net_g.")
"""What trainers put before every name."""
_MOST_CHANNELS = 1024
_COLOURS = 3


@dataclass(frozen=True)
class Upscaler:
    """A network that enlarges pictures.

    Attributes:
        network: maps pictures with values from 0 to 1, ``b 3 h w``, to larger ones.
        scale: how many times wider and higher they become.
        architecture: ``compact``, ``esrgan``, ``realplksr``, or what spandrel calls it.
    """

    network: nn.Module
    scale: int
    architecture: str


def read_upscaler(path: Path) -> Upscaler:
    """Read an upscaler; the last one is kept in memory while its file does not change.

    Args:
        path: a safetensors file or a pickle.

    Raises:
        FileError: the file is broken, or is not an upscaler that can be used here.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    return _read(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, size: int, time: int) -> Upscaler:
    del size, time  # they identify a version of the file
    weights = network_weights(path)
    try:
        return upscaler_of(weights)
    except FileError as error:
        other = _by_spandrel(weights)
        if other is not None:
            return other
        raise FileError(f"{path} cannot be used as an upscaler: {error}") from None


def upscaler_of(weights: Mapping[str, Tensor]) -> Upscaler:
    """The upscaler that these weights are of, by their names and shapes.

    Raises:
        FileError: they are of no architecture that is known here.
    """
    weights = without_wrapper(weights)
    if "feats.0.weight" in weights:
        return _real_plksr(weights)
    names = esrgan_names(weights)
    if names is not None:
        return _esrgan({names[name]: value for name, value in weights.items()})
    if "body.0.weight" in weights:
        network = CompactUpscaler.of_weights(weights)
        return Upscaler(network, network.scale, "compact")
    raise FileError(
        "its names are not those of ESRGAN, of its compact form, or of RealPLKSR. Convert it, or "
        "install spandrel."
    )


def without_wrapper(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what a trainer put before every name; averaged ones are preferred."""
    for prefix in WRAPPERS:
        inner = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
        if inner:
            return inner
    return dict(weights)


def esrgan_names(names: Mapping[str, object]) -> dict[str, str] | None:
    """Real-ESRGAN's name for each of a file's names; ``None`` if they are not ESRGAN's."""
    if "conv_first.weight" in names and "body.0.rdb1.conv1.weight" in names:
        return {name: name for name in names}
    if "conv_first.weight" in names and "RRDB_trunk.0.RDB1.conv1.weight" in names:
        return {name: _renamed(name, _REPOSITORY) for name in names}
    if "model.0.weight" in names and "model.1.sub.0.RDB1.conv1.0.weight" in names:
        ends = sorted(
            {int(m[1]) for name in names if (m := re.match(r"model\.(\d+)\.(weight|bias)$", name))}
        )
        trunk = max(int(m[1]) for name in names if (m := re.match(r"model\.1\.sub\.(\d+)\.", name)))
        return {name: _first_name(name, ends=ends[1:], trunk=trunk) for name in names}
    return None


_REPOSITORY = (
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
)


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, new in table:
        name = re.sub(pattern, new, name)
    return name


def _first_name(name: str, *, ends: list[int], trunk: int) -> str:
    """A name of the first code, where the layers after the trunk are numbered with their activations.

    Args:
        name: such as ``model.1.sub.4.RDB2.conv3.0.weight``.
        ends: numbers of the convolutions after the trunk: one for each doubling, then two.
        trunk: the number of the convolution that ends the trunk.
    """
    dense = re.match(r"model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0\.(weight|bias)$", name)
    if dense:
        return f"body.{dense[1]}.rdb{dense[2]}.{dense[3]}.{dense[4]}"
    if name.startswith(f"model.1.sub.{trunk}."):
        return name.replace(f"model.1.sub.{trunk}.", "conv_body.")
    plain = re.match(r"model\.(\d+)\.(weight|bias)$", name)
    if plain is None:
        return name
    number = int(plain[1])
    after = ["conv_hr", "conv_last"] if len(ends) >= 2 else []
    places = [*(f"conv_up{i + 1}" for i in range(len(ends) - len(after))), *after]
    layer = "conv_first" if number == 0 else places[ends.index(number)]
    return f"{layer}.{plain[2]}"


def _esrgan(weights: dict[str, Tensor]) -> Upscaler:
    first, dense = weights.get("conv_first.weight"), weights.get("body.0.rdb1.conv1.weight")
    if first is None or dense is None or first.ndim != 4 or dense.ndim != 4:
        raise FileError("its names are those of ESRGAN, but not its shapes.")
    if any("conv1x1" in name for name in weights):
        raise FileError("it is an ESRGAN+, whose blocks differ; this form is not supported.")
    folded = math.isqrt(first.shape[1] // _COLOURS)
    if first.shape[1] != _COLOURS * folded**2 or folded not in (1, 2, 4):
        raise FileError(f"it reads {first.shape[1]} channels; pictures of three are supported.")
    network = RRDBUpscaler(
        channels=_sane(first.shape[0]),
        blocks=_count(weights, r"body\.(\d+)\."),
        growth=_sane(dense.shape[0]),
        doublings=_count(weights, r"conv_up(\d+)\.") - 1 if "conv_up1.weight" in weights else 0,
        folded=folded,
    )
    return Upscaler(filled(network, weights, "ESRGAN"), network.scale, "esrgan")


def _real_plksr(weights: dict[str, Tensor]) -> Upscaler:
    if any(name.startswith("to_img.") for name in weights):
        raise FileError("it is a RealPLKSR with DySample, which is not supported; get the other.")
    if "feats.1.norm.weight" not in weights or "feats.1.channel_mixer.2.weight" not in weights:
        raise FileError("it is a PLKSR of another form than RealPLKSR, which is not supported.")
    numbers = _count(weights, r"feats\.(\d+)\.")
    last = weights.get(f"feats.{numbers - 1}.weight")
    kernel = weights.get("feats.1.lk.conv.weight")
    if last is None or kernel is None or last.ndim != 4 or kernel.ndim != 4:
        raise FileError("its names are those of RealPLKSR, but not its shapes.")
    scale = math.isqrt(last.shape[0] // _COLOURS)
    network = RealPLKSRUpscaler(
        channels=_sane(last.shape[1]),
        blocks=sum(name.endswith(".lk.conv.weight") for name in weights),
        part=_sane(kernel.shape[0]),
        kernel=_sane(kernel.shape[-1]),
        attends="feats.1.attn.f.0.weight" in weights,
        scale=_sane(scale),
    )
    return Upscaler(filled(network, weights, "RealPLKSR"), network.scale, "realplksr")


def filled(network: nn.Module, weights: Mapping[str, Tensor], title: str) -> nn.Module:
    """The network with the weights in it.

    Raises:
        FileError: a name is missing or left over, or a shape differs.
    """
    expected = {name: value.shape for name, value in network.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    if expected != given:
        wrong = sorted(
            name for name in {*expected, *given} if expected.get(name) != given.get(name)
        )
        raise FileError(f"it looks like {title}, but its layers differ, such as {wrong[0]}.")
    network.load_state_dict(dict(weights))
    return network.eval()


def size_of_layer(weights: Mapping[str, Tensor], name: str, *, axis: int) -> int:
    """How long an axis of a layer's weight is.

    Raises:
        FileError: there is no such layer, or no network has one of that size.
    """
    weight = weights.get(name)
    if weight is None or weight.ndim <= axis:
        raise FileError(f"it has no layer {name}.")
    return _sane(weight.shape[axis])


def _count(names: Mapping[str, object], pattern: str) -> int:
    """One more than the largest number in the names."""
    return 1 + max((int(m[1]) for name in names if (m := re.match(pattern, name))), default=-1)


def _sane(size: int) -> int:
    if not 1 <= size <= _MOST_CHANNELS:
        raise FileError(f"a layer has a size of {size}, which no such network has.")
    return size


def network_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, in fp32; a pickle is converted by the confined child first.

    Raises:
        FileError: the file is broken, or contains NaN or infinity.
    """
    if not is_pickle(path):
        return read_weights(read_header(path), dtype=torch.float32, refuse_nan=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = converted_to_safetensors(path, Path(folder) / "upscaler.safetensors")
        weights = read_weights(read_header(copy), dtype=torch.float32, refuse_nan=True)
        return {name: value.clone() for name, value in weights.items()}


def _by_spandrel(weights: Mapping[str, Tensor]) -> Upscaler | None:
    """Return spandrel's network for these tensors; ``None`` if it is not installed or knows none."""
    if importlib.util.find_spec("spandrel") is None:
        return None
    try:
        spandrel: Any = importlib.import_module("spandrel")
        found = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(weights))
    except Exception:  # noqa: BLE001 - without torchvision it cannot be imported, and it may know none
        return None
    if found.input_channels != _COLOURS or found.output_channels != _COLOURS:
        return None
    return Upscaler(found.model.eval(), int(found.scale), str(found.architecture.name))
