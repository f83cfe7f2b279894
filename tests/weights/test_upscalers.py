"""Upscalers of users: official names, an independent forward pass, and what is refused."""

from __future__ import annotations

import importlib.machinery
import re
import sys
import types
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from animatediff.errors import FileError
from animatediff.weights.inspect import inspect
from animatediff.weights.storage.files import write_weights
from animatediff.weights.upscalers import read_upscaler, upscaler_of

Weights = dict[str, Tensor]


def drawn(shapes: dict[str, tuple[int, ...]]) -> Weights:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * (0.2 if len(shape) > 1 else 0.1)
        for name, shape in shapes.items()
    }


def conv_shapes(
    name: str, inputs: int, outputs: int, kernel: int = 3
) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def real_esrgan(*, blocks: int = 2, width: int = 8, growth: int = 4, channels: int = 3) -> Weights:
    """The names of RealESRGAN_x4plus.pth, in a small size."""
    shapes = conv_shapes("conv_first", channels, width)
    for block in range(blocks):
        for rdb in (1, 2, 3):
            for conv in range(1, 6):
                inputs = width + (conv - 1) * growth
                name = f"body.{block}.rdb{rdb}.conv{conv}"
                shapes |= conv_shapes(name, inputs, width if conv == 5 else growth)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        shapes |= conv_shapes(name, width, width)
    return drawn(shapes | conv_shapes("conv_last", width, 3))


def as_repository(weights: Weights) -> Weights:
    """The names of RRDB_ESRGAN_x4.pth in the authors' later code."""
    table = {"conv_body": "trunk_conv", "conv_up": "upconv", "conv_hr": "HRconv"}
    renamed = {}
    for name, value in weights.items():
        new = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", name)
        for ours, theirs in table.items():
            new = new.replace(ours, theirs)
        renamed[new] = value
    return renamed


def as_first_code(weights: Weights, *, blocks: int = 2) -> Weights:
    """The names of 4x models from before that code: one list of numbered layers."""
    numbers = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_up1": "model.3"}
    numbers |= {"conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"}
    renamed = {}
    for name, value in weights.items():
        new = re.sub(r"^body\.(\d+)\.rdb(\d)\.(conv\d)", r"model.1.sub.\1.RDB\2.\3.0", name)
        layer = name.rsplit(".", 1)[0]
        renamed[new.replace(layer, numbers[layer]) if layer in numbers else new] = value
    return renamed


def esrgan_reference(w: Weights, x: Tensor, *, blocks: int = 2, fold: int = 1) -> Tensor:
    """ESRGAN as in its paper, written out: Fig. 4 and Sec. 3.1 of arXiv 1809.00219."""

    def conv(name: str, value: Tensor) -> Tensor:
        return F.conv2d(value, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def act(value: Tensor) -> Tensor:
        return torch.where(value > 0, value, 0.2 * value)

    if fold > 1:
        b, c, h, wide = x.shape
        x = x.view(b, c, h // fold, fold, wide // fold, fold)
        x = x.permute(0, 1, 3, 5, 2, 4).reshape(b, c * fold**2, h // fold, wide // fold)
    first = trunk = conv("conv_first", x)
    for block in range(blocks):
        entry = trunk
        for rdb in (1, 2, 3):
            before, known = trunk, trunk
            for number in range(1, 5):
                new = act(conv(f"body.{block}.rdb{rdb}.conv{number}", known))
                known = torch.cat([known, new], 1)
            trunk = before + 0.2 * conv(f"body.{block}.rdb{rdb}.conv5", known)
        trunk = entry + 0.2 * trunk
    value = first + conv("conv_body", trunk)
    for number in (1, 2):
        doubled = value.repeat_interleave(2, 2).repeat_interleave(2, 3)
        value = act(conv(f"conv_up{number}", doubled))
    return conv("conv_last", act(conv("conv_hr", value)))


@pytest.mark.parametrize("names", [dict, as_repository, as_first_code])
def test_esrgan_of_every_name_equals_the_paper(names: Callable[[Weights], Weights]) -> None:
    weights = real_esrgan()
    found = upscaler_of(names(weights))
    picture = torch.rand(1, 3, 7, 6)
    assert (found.scale, found.architecture) == (4, "esrgan")
    expected = esrgan_reference(weights, picture)
    torch.testing.assert_close(found.network(picture), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "scale"), [(12, 2), (48, 1)])
def test_esrgan_for_smaller_scales_folds_pixels_first(channels: int, scale: int) -> None:
    weights = real_esrgan(channels=channels)
    found = upscaler_of(weights)
    assert found.scale == scale
    picture = torch.rand(1, 3, 8, 12)
    expected = esrgan_reference(weights, picture, fold=4 // scale)
    torch.testing.assert_close(found.network(picture), expected, atol=1e-5, rtol=1e-5)
    odd = torch.rand(1, 3, 7, 9)
    assert found.network(odd).shape == (1, 3, 7 * scale, 9 * scale)


def real_plksr(*, width: int = 8, blocks: int = 2, scale: int = 2, attends: bool = True) -> Weights:
    """The names of RealPLKSR files, in a small size."""
    shapes = conv_shapes("feats.0", 3, width)
    for block in range(1, blocks + 1):
        at = f"feats.{block}"
        shapes |= conv_shapes(f"{at}.channel_mixer.0", width, 2 * width)
        shapes |= conv_shapes(f"{at}.channel_mixer.2", 2 * width, width)
        shapes |= conv_shapes(f"{at}.lk.conv", width // 4, width // 4, 5)
        if attends:
            shapes |= conv_shapes(f"{at}.attn.f.0", width, width)
        shapes |= conv_shapes(f"{at}.refine", width, width, 1)
        shapes |= {f"{at}.norm.weight": (width,), f"{at}.norm.bias": (width,)}
    return drawn(shapes | conv_shapes(f"feats.{blocks + 2}", width, 3 * scale**2))


def real_plksr_reference(
    w: Weights, x: Tensor, *, blocks: int, scale: int, attends: bool
) -> Tensor:
    """RealPLKSR as its authors' table of layers says, written out."""

    def conv(name: str, value: Tensor) -> Tensor:
        kernel = w[f"{name}.weight"]
        return F.conv2d(value, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    value = conv("feats.0", x)
    for block in range(1, blocks + 1):
        at, entry = f"feats.{block}", value
        mixed = conv(f"{at}.channel_mixer.0", value)
        mixed = mixed * torch.tanh(torch.log1p(torch.exp(mixed)))
        value = conv(f"{at}.channel_mixer.2", mixed)
        part = w[f"{at}.lk.conv.weight"].shape[0]
        value = torch.cat([conv(f"{at}.lk.conv", value[:, :part]), value[:, part:]], 1)
        if attends:
            value = value / (1 + torch.exp(-conv(f"{at}.attn.f.0", value)))
        value = conv(f"{at}.refine", value)
        groups = value.view(len(value), 4, -1)
        mean, var = groups.mean(-1, keepdim=True), groups.var(-1, keepdim=True, unbiased=False)
        value = ((groups - mean) / torch.sqrt(var + 1e-5)).view_as(value)
        value = value * w[f"{at}.norm.weight"][:, None, None] + w[f"{at}.norm.bias"][:, None, None]
        value = entry + value
    value = conv(f"feats.{blocks + 2}", value) + x.repeat_interleave(scale**2, 1)
    b, _, h, wide = value.shape
    value = value.view(b, 3, scale, scale, h, wide).permute(0, 1, 4, 2, 5, 3)
    return value.reshape(b, 3, h * scale, wide * scale)


@pytest.mark.parametrize("attends", [True, False])
def test_real_plksr_equals_its_table_of_layers(attends: bool) -> None:
    weights = real_plksr(attends=attends)
    found = upscaler_of(weights)
    assert (found.scale, found.architecture) == (2, "realplksr")
    picture = torch.rand(2, 3, 9, 7)
    expected = real_plksr_reference(weights, picture, blocks=2, scale=2, attends=attends)
    torch.testing.assert_close(found.network(picture), expected, atol=1e-5, rtol=1e-5)


def compact(*, width: int = 8, layers: int = 3, scale: int = 4) -> Weights:
    """The names of realesr-animevideov3.pth, in a small size."""
    shapes = conv_shapes("body.0", 3, width) | {"body.1.weight": (width,)}
    for layer in range(1, layers + 1):
        shapes |= conv_shapes(f"body.{2 * layer}", width, width)
        shapes |= {f"body.{2 * layer + 1}.weight": (width,)}
    return drawn(shapes | conv_shapes(f"body.{2 * layers + 2}", width, 3 * scale**2))


def test_the_compact_network_equals_its_table_of_layers() -> None:
    weights = compact()
    found = upscaler_of({f"params.{name}": value for name, value in weights.items()})
    picture = torch.rand(1, 3, 5, 6)
    value = picture
    for layer in range(0, 9, 2):
        kernel, bias = weights[f"body.{layer}.weight"], weights[f"body.{layer}.bias"]
        value = F.conv2d(value, kernel, bias, padding=1)
        if layer < 8:
            slope = weights[f"body.{layer + 1}.weight"][:, None, None]
            value = torch.where(value > 0, value, slope * value)
    value = value.view(1, 3, 4, 4, 5, 6).permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 20, 24)
    expected = value + picture.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(found.network(picture), expected, atol=1e-5, rtol=1e-5)
    assert (found.scale, found.architecture) == (4, "compact")


@pytest.mark.parametrize(
    ("weights", "version"),
    [
        (real_esrgan(), "esrgan"),
        (as_repository(real_esrgan()), "esrgan"),
        (as_first_code(real_esrgan()), "esrgan"),
        (real_plksr(), "realplksr"),
        (compact(), "compact"),
    ],
)
def test_a_file_is_recognised_and_read(tmp_path, weights: Weights, version: str) -> None:
    path = write_weights(tmp_path / "a.safetensors", weights, metadata={})
    found = inspect(path)
    assert (found.kind, found.version) == ("upscaler", version)
    assert read_upscaler(path).architecture == version


def test_a_pickle_is_read_without_unpickling(tmp_path) -> None:
    weights = compact()
    path = tmp_path / "anime.pth"
    torch.save({"params": weights}, path)  # noqa: TID251 - what users have
    picture = torch.rand(1, 3, 4, 4)
    expected = upscaler_of(weights).network(picture)
    torch.testing.assert_close(read_upscaler(path).network(picture), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w | {"to_img.init_pos": torch.zeros(1, 8, 1, 1)}, "DySample"),
        (lambda w: {n: v for n, v in w.items() if ".norm." not in n}, "another form"),
        (lambda w: {n: v for n, v in w.items() if n != "feats.2.refine.bias"}, "layers differ"),
        (lambda _w: {"conv.weight": torch.zeros(3, 3, 3, 3)}, "not those of ESRGAN"),
    ],
)
def test_other_networks_are_refused_by_name(tmp_path, change, words: str) -> None:
    path = write_weights(tmp_path / "a.safetensors", change(real_plksr()), metadata={})
    with pytest.raises(FileError, match=words):
        read_upscaler(path)


@pytest.mark.parametrize("names", [dict, as_repository, as_first_code])
def test_esrgan_plus_is_refused_by_name(
    tmp_path, names: Callable[[Weights], Weights], monkeypatch
) -> None:
    """Its dense blocks add a convolution of size 1, named ``conv1x1``."""
    monkeypatch.setitem(sys.modules, "spandrel", None)
    weights = names(real_esrgan())
    block = next(n for n in weights if re.search(r"(rdb|RDB)1\.conv1\.", n))
    weights[f"{block[: block.index('conv1.')]}conv1x1.weight"] = torch.zeros(4, 8, 1, 1)
    path = write_weights(tmp_path / "a.safetensors", weights, metadata={})
    with pytest.raises(FileError, match=r"a\.safetensors .* ESRGAN\+"):
        read_upscaler(path)


def test_other_architectures_are_left_to_spandrel_where_it_can_be_imported(
    tmp_path, monkeypatch
) -> None:
    path = write_weights(tmp_path / "a.safetensors", {"swin.weight": torch.ones(2)}, metadata={})
    module = types.ModuleType("spandrel")
    module.__spec__ = importlib.machinery.ModuleSpec("spandrel", None)
    seen: list[str] = []

    class Loader:
        def __init__(self, device: str) -> None:
            assert device == "cpu"

        def load_from_state_dict(self, weights: Weights) -> types.SimpleNamespace:
            seen.extend(weights)
            return types.SimpleNamespace(
                input_channels=3,
                output_channels=3,
                scale=2,
                model=torch.nn.Upsample(scale_factor=2),
                architecture=types.SimpleNamespace(name="SwinIR"),
            )

    monkeypatch.setattr(module, "ModelLoader", Loader, raising=False)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    found = read_upscaler(path)
    assert (found.scale, found.architecture, seen) == (2, "SwinIR", ["swin.weight"])
