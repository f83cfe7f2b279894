"""Interpolators of users: official names, equations written out, and what is refused."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.weights.synthetic.finishing import film, rife
from torch import Tensor

from animatediff.errors import FileError
from animatediff.finishing.network_interpolation import interpolated_by
from animatediff.model.interpolators.film import Film
from animatediff.model.interpolators.rife import SCALES, Rife
from animatediff.model.interpolators.warping import warped
from animatediff.video import Video
from animatediff.weights.interpolators import interpolator_of

Weights = dict[str, Tensor]
WIDTHS = (8, 8, 4, 4, 4)


def test_the_names_and_shapes_are_those_of_published_files() -> None:
    with torch.device("meta"):
        ours = {name: tuple(w.shape) for name, w in Rife().state_dict().items()}
        assert ours == {re.sub(r"^block(\d)", r"blocks.\1", n): s for n, s in rife("real").items()}
        assert {n: tuple(w.shape) for n, w in Film().state_dict().items()} == film("real")


def small_rife() -> Weights:
    torch.manual_seed(0)
    weights = Rife(channels=WIDTHS, head=6, features=4).state_dict()
    return {name: torch.randn_like(value) * 0.1 for name, value in weights.items()}


def conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=1)


def act(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def resize(x: Tensor, scale: float) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def sample(picture: Tensor, flow: Tensor) -> Tensor:
    """Bilinear reading at places, one pixel after another."""
    _, _, height, width = picture.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (x + flow[0, 0]).clamp(0, width - 1)
    y = (y + flow[0, 1]).clamp(0, height - 1)
    left, top = x.floor().long(), y.floor().long()
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    dx, dy = x - left, y - top
    upper = picture[..., top, left] * (1 - dx) + picture[..., top, right] * dx
    lower = picture[..., below, left] * (1 - dx) + picture[..., below, right] * dx
    return upper * (1 - dy) + lower * dy


def rife_reference(w: Weights, first: Tensor, second: Tensor, t: float) -> Tensor:
    """The layers of Practical-RIFE 4.25, written out."""

    def head(x: Tensor) -> Tensor:
        x = act(conv(w, "encode.cnn0", x, 2))
        x = act(conv(w, "encode.cnn2", act(conv(w, "encode.cnn1", x))))
        name = "encode.cnn3"
        return F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1)

    feats = [head(first), head(second)]
    moment = torch.full_like(first[:, :1], t)
    flow = mask = hidden = None
    moved = [first, second]
    for index, scale in enumerate(SCALES):
        at = f"blocks.{index}"
        if flow is None:
            x = resize(torch.cat([first, second, *feats, moment], 1), 1 / scale)
        else:
            read = [sample(feats[0], flow[:, :2]), sample(feats[1], flow[:, 2:])]
            x = resize(torch.cat([*moved, *read, moment, mask, hidden], 1), 1 / scale)
            x = torch.cat([x, resize(flow, 1 / scale) / scale], 1)
        x = act(conv(w, f"{at}.conv0.1.0", act(conv(w, f"{at}.conv0.0.0", x, 2)), 2))
        for number in range(8):
            name = f"{at}.convblock.{number}"
            x = act(conv(w, f"{name}.conv", x) * w[f"{name}.beta"] + x)
        name = f"{at}.lastconv.0"
        x = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1)
        x = resize(F.pixel_shuffle(x, 2), scale)
        change, mask, hidden = x[:, :4] * scale, x[:, 4:5], x[:, 5:]
        flow = change if flow is None else flow + change
        moved = [sample(first, flow[:, :2]), sample(second, flow[:, 2:])]
    share = torch.sigmoid(mask)
    return share * moved[0] + (1 - share) * moved[1]


def test_rife_equals_its_layers_written_out() -> None:
    weights = small_rife()
    published = {re.sub(r"^blocks\.(\d)", r"module.block\1", n): v for n, v in weights.items()}
    published = {n if n.startswith("module.") else f"module.{n}": v for n, v in published.items()}
    published["module.teacher.conv0.0.0.weight"] = torch.zeros(1)
    found = interpolator_of(published)
    assert found.architecture == "rife"
    first, second = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        ours = found.network(first, second, 0.3)
        expected = rife_reference(weights, first, second, 0.3)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def small_film() -> Weights:
    """Random weights of a narrow FILM, whose flow is some pixels long."""
    generator = torch.Generator().manual_seed(0)
    network = Film(width=4, widths=(4, 6, 8, 10), convolutions=(1, 2, 2, 3))
    return {
        name: torch.randn(value.shape, generator=generator)
        * (1.4 / (value[0].numel() ** 0.5) if value.ndim > 1 else 0.1)
        for name, value in network.state_dict().items()
    }


def halved(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def doubled(x: Tensor) -> Tensor:
    """Bilinear enlargement by two: each new pixel lies a quarter beside an old one."""
    for axis in (2, 3):
        padded = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, -1, 1)], axis)
        before, after = padded.narrow(axis, 0, x.shape[axis]), padded.narrow(axis, 2, x.shape[axis])
        x = torch.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = x.flatten(axis, axis + 1)
    return x


def film_reference(w: Weights, first: Tensor, second: Tensor, t: float) -> Tensor:
    """FILM (arXiv 2202.04901) as its authors' code computes it, written out.

    Residual flows are predicted first, and summed to flows afterwards. There, time is always one half;
    the published PyTorch weights are called with any time.
    """

    def conv(name: str, x: Tensor) -> Tensor:
        kernel = w[f"{name}.conv.weight"]
        if kernel.shape[-1] == 2:
            x = F.pad(x, (0, 1, 0, 1))
        pad = {1: 0, 2: 0, 3: 1}[kernel.shape[-1]]
        return F.conv2d(x, kernel, w[f"{name}.conv.bias"], padding=pad)

    def pyramid(x: Tensor) -> list[Tensor]:
        levels = [x]
        for _ in range(6):
            levels.append(halved(levels[-1]))
        return levels

    def features(levels: list[Tensor]) -> list[Tensor]:
        subtrees = []
        for level, picture in enumerate(levels):
            subtree, head = [], picture
            for deep in range(min(7 - level, 4)):
                at = f"extract.extract_sublevels.convs.{deep}"
                head = act(
                    conv(f"{at}.1", act(conv(f"{at}.0", head if deep == 0 else halved(head))))
                )
                subtree.append(head)
            subtrees.append(subtree)
        joined = []
        for level in range(7):
            parts = [subtrees[level - deep][deep] for deep in range(4) if deep <= level]
            joined.append(torch.cat(parts, 1))
        return joined

    def predicted(level: int, a: Tensor, b: Tensor) -> Tensor:
        at = "predict_flow." + (f"_predictors.{2 - level}" if level < 3 else "_predictor")
        count = len([n for n in w if n.startswith(f"{at}._convs.") and n.endswith("weight")])
        x = torch.cat([a, b], 1)
        for number in range(count):
            x = conv(f"{at}._convs.{number}", x)
            x = act(x) if number < count - 1 else x
        return x

    def flows(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        flow = predicted(6, a[6], b[6])
        residuals = [flow]
        for level in (5, 4, 3, 2, 1, 0):
            flow = doubled(2 * flow)
            residual = predicted(level, a[level], sample(b[level], flow))
            residuals.append(residual)
            flow = residual + flow
        summed = [residuals[0]]
        for residual in residuals[1:]:
            summed.append(residual + doubled(2 * summed[-1]))
        return summed[::-1]

    pictures = [pyramid(first), pyramid(second)]
    feats = [features(pictures[0]), features(pictures[1])]
    forward, backward = flows(feats[0], feats[1]), flows(feats[1], feats[0])
    aligned = []
    for level in range(5):
        to_first, to_second = t * backward[level], (1 - t) * forward[level]
        seen = [torch.cat([pictures[i][level], feats[i][level]], 1) for i in (0, 1)]
        warped_first, warped_second = sample(seen[0], to_first), sample(seen[1], to_second)
        aligned.append(torch.cat([warped_first, warped_second, to_first, to_second], 1))
    x = aligned[4]
    for number, level in enumerate((3, 2, 1, 0)):
        at = f"fuse.convs.{number}"
        x = conv(f"{at}.0", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        x = act(conv(f"{at}.2", act(conv(f"{at}.1", torch.cat([aligned[level], x], 1)))))
    return F.conv2d(x, w["fuse.output_conv.weight"], w["fuse.output_conv.bias"])


@pytest.mark.parametrize(("size", "t"), [((64, 64), 0.5), ((64, 128), 0.3)])
def test_film_equals_its_layers_written_out(size: tuple[int, int], t: float) -> None:
    weights = small_film()
    found = interpolator_of(weights)
    assert found.architecture == "film"
    first, second = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = found.network(first, second, t)
        expected = film_reference(weights, first, second, t)
        still = film_reference(weights, first, second, 0.0)
    assert (expected - still).abs().max() > 0.1, "the moment matters"
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_film_reads_both_frames_along_a_share_of_the_flow() -> None:
    """With a constant flow and a fusion that takes the first warped picture, it is that picture."""
    torch.manual_seed(0)
    network = Film(width=4, widths=(4, 4, 4, 4), convolutions=(1, 1, 1, 1))
    weights = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    # The flow of the coarsest level alone: a pixel there is 64 at the finest.
    weights["predict_flow._predictor._convs.2.conv.bias"][:] = torch.tensor([0.0625, 0.0])
    # All but the coarsest use the shared predictor down to level 3, and add the same once more.
    pixels = sum(0.0625 * 2**level for level in (3, 4, 5, 6))
    takes = weights["fuse.convs.3.1.conv.weight"]
    picks = weights["fuse.convs.3.2.conv.weight"]
    for channel in range(3):
        takes[channel, channel, 1, 1] = 1.0
        picks[channel, channel, 1, 1] = 1.0
        weights["fuse.output_conv.weight"][channel, channel] = 1.0
    found = interpolator_of(weights)
    assert found.architecture == "film"
    first, second = torch.rand(2, 1, 3, 64, 128)
    flow = torch.zeros(1, 2, 64, 128)
    flow[:, 0] = pixels * 0.25
    with torch.no_grad():
        torch.testing.assert_close(
            found.network(first, second, 0.25), warped(first, flow), atol=1e-4, rtol=1e-4
        )


def test_warping_reads_where_the_flow_points() -> None:
    picture, flow = torch.rand(1, 2, 7, 9), torch.randn(1, 2, 7, 9) * 3
    torch.testing.assert_close(warped(picture, flow), sample(picture, flow), atol=1e-5, rtol=1e-4)


def test_a_video_keeps_its_own_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 50, 3), np.uint8)
    video = interpolated_by(interpolator_of(small_rife()), Video(frames, Fraction(8)), 3)
    assert (video.num_frames, video.fps) == (7, 24)
    np.testing.assert_array_equal(video.frames[::3], frames)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({n: v for n, v in small_rife().items() if not n.startswith("blocks.4")}, "4 blocks"),
        ({n: v for n, v in small_rife().items() if "encode" not in n}, "another head"),
        ({n: v for n, v in small_rife().items() if n != "blocks.3.convblock.0.beta"}, "differ"),
        ({"conv.weight": torch.zeros(1)}, "neither those of RIFE 4 nor those of FILM"),
    ],
)
def test_other_networks_are_refused_by_name(weights: Weights, words: str) -> None:
    with pytest.raises(FileError, match=words):
        interpolator_of(weights)
