"""3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3), with 16 products instead of 36.

Lavin and Gray, arXiv 1509.09308. Each 2x2 tile of the output depends on a 4x4 tile of the input. Both
are transformed by additions alone, and in between each of the 16 elements is one matrix product over
the channels:

    Y = A^T ((G g G^T) * (B^T d B)) A

In fp32 the rounding error is that of a direct convolution. In half precision it would be larger, so
this file is for fp32. On a CPU the products run at the speed of linear layers, and the additions at
the speed of memory. Images, rows and output channels are therefore taken in blocks that stay in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product as product_of

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.linear import Product
from animatediff.model.fast.replaced import Replaced

NARROWEST = 128
"""Channels below which the additions cost what the products save."""
LEAST_WORK = 1 << 26
"""Pixels times channels, read and written, below which a direct convolution is as fast."""
BLOCK = 4 << 20
"""Numbers in a block: 16 MiB, about half of a processor's last cache."""


def convolve_by_winograd(model: nn.Module, product: Product) -> Replaced:
    """Compute the wide 3x3 convolutions of ``model`` in this way, until the result is removed."""
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and _fits(layer):
            replaced.put(layer, partial(_convolution, layer, product))
    return replaced


def _fits(layer: nn.Conv2d) -> bool:
    return (
        (layer.kernel_size, layer.stride, layer.dilation) == ((3, 3), (1, 1), (1, 1))
        and (layer.padding, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
        and min(layer.weight.shape[:2]) >= NARROWEST
        and layer.weight.dtype == torch.float32
    )


def _convolution(
    layer: nn.Conv2d, product: Product, maps: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b d h w"]:
    height, width = maps.shape[-2:]
    even = height % 2 == 0 and width % 2 == 0
    small = maps.numel() * len(layer.weight) < LEAST_WORK
    if torch.is_grad_enabled() or not even or small or maps.dtype != torch.float32:
        return nn.Conv2d.forward(layer, maps)
    return convolved(maps, layer.weight, layer.bias, product=product)


def convolved(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "d c 3 3"],
    bias: Tensor | None,
    *,
    product: Product,
) -> Float[Tensor, "b d h w"]:
    """Convolve maps of even height and width, zero-padded by one; the result is channels-last.

    Args:
        maps: the input.
        weight: of the convolution.
        bias: of the convolution.
        product: computes a linear layer.
    """
    batch, channels, height, width = maps.shape
    outputs = weight.shape[0]
    pixels = maps.permute(0, 2, 3, 1)
    result = maps.new_empty(batch, height, width, outputs)
    # A tile of 2x2 pixels has 4x4 numbers, so a row of tiles has eight times a row's numbers.
    tile_rows = max(1, BLOCK // (8 * width * channels))
    images, lines = max(1, 2 * tile_rows // height), min(height, 2 * tile_rows)
    whole = images >= batch and lines == height
    filters = max(16, BLOCK // (16 * channels)) if whole else outputs
    for kernels, columns in _in_blocks(weight, filters):
        for start, top in product_of(range(0, batch, images), range(0, height, lines)):
            place = (slice(start, start + images), slice(top, top + lines))
            tiles = _transformed_tiles(_padded(pixels[place[0]], top, lines))
            rows = tiles.flatten(2, 4)
            products = [
                [product(rows[i, j], kernels[i, j], None) for j in range(4)] for i in range(4)
            ]
            _write(products, result[(*place, slice(None), columns)])
    if bias is not None:
        result += bias
    return result.permute(0, 3, 1, 2)


def _padded(
    pixels: Float[Tensor, "b h w c"], top: int, lines: int
) -> Float[Tensor, "b lines w+2 c"]:
    """Some rows with their neighbours, and zeros where the map ends; the whole is never copied."""
    height = pixels.shape[1]
    first, last = max(0, top - 1), min(height, top + lines + 1)
    above, below = int(top == 0), int(top + lines >= height)
    return F.pad(pixels[:, first:last], (0, 0, 1, 1, above, below))


def _in_blocks(weight: Float[Tensor, "d c 3 3"], filters: int) -> Iterator[tuple[Tensor, slice]]:
    """The transformed kernels of some output channels at a time, and which channels they are."""
    for start in range(0, len(weight), filters):
        columns = slice(start, start + filters)
        yield _transformed_kernels(weight[columns]), columns


def _transformed_kernels(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "4 4 d c"]:
    """G g G^T, with the rows (1 0 0), (1 1 1)/2, (1 -1 1)/2 and (0 0 1) of G."""
    kernels = weight.permute(2, 3, 0, 1)
    tall = kernels.new_empty(4, 3, *kernels.shape[2:])
    _filtered(kernels[0], kernels[1], kernels[2], out=(tall[0], tall[1], tall[2], tall[3]))
    square = kernels.new_empty(4, 4, *kernels.shape[2:])
    columns = (square[:, 0], square[:, 1], square[:, 2], square[:, 3])
    _filtered(tall[:, 0], tall[:, 1], tall[:, 2], out=columns)
    return square


def _filtered(
    one: Tensor, two: Tensor, three: Tensor, *, out: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    out[0].copy_(one)
    out[3].copy_(three)
    ends, middle = (one + three).mul_(0.5), two * 0.5
    torch.add(ends, middle, out=out[1])
    torch.sub(ends, middle, out=out[2])


def _transformed_tiles(padded: Float[Tensor, "b h w c"]) -> Float[Tensor, "4 4 b h2 w2 c"]:
    """B^T d B for the tiles at every second row and column."""
    batch, height, width, channels = padded.shape
    height, width = height // 2 - 1, width // 2 - 1
    rows = [padded[:, i : i + 2 * height : 2] for i in range(4)]
    tall = padded.new_empty(4, batch, height, padded.shape[2], channels)
    _differences(rows, out=list(tall))
    columns = [tall[:, :, :, i : i + 2 * width : 2] for i in range(4)]
    square = padded.new_empty(4, 4, batch, height, width, channels)
    _differences(columns, out=[square[:, i] for i in range(4)])
    return square


def _differences(lines: list[Tensor], *, out: list[Tensor]) -> None:
    torch.sub(lines[0], lines[2], out=out[0])
    torch.add(lines[1], lines[2], out=out[1])
    torch.sub(lines[2], lines[1], out=out[2])
    torch.sub(lines[1], lines[3], out=out[3])


def _write(products: list[list[Tensor]], out: Float[Tensor, "b h w d"]) -> None:
    """A^T m A, with the rows (1 1 1 0) and (0 1 -1 -1) of A^T, written into every second pixel."""
    one, two, three, four = products
    sums = [(a + b).add_(c) for a, b, c in zip(one, two, three, strict=True)]
    differences = [(b - c).sub_(d) for b, c, d in zip(two, three, four, strict=True)]
    for parity, (a, b, c, d) in enumerate((sums, differences)):
        even, odd = out[:, parity::2, 0::2], out[:, parity::2, 1::2]
        torch.add((a + b).view(even.shape), c.view(even.shape), out=even)
        torch.sub((b - c).view(odd.shape), d.view(odd.shape), out=odd)
