"""FILM: features at several scales, flow from coarse to fine, and a fusion of both warped frames.

Reda et al., arXiv 2202.04901, with the parameter names of the published PyTorch weights. Features of a
level join what an extractor sees at that level with what it saw, deeper, of the finer ones (Sec. 3.1).
Flow is estimated as residuals, by one shared predictor at the coarse levels (Sec. 3.2). The pyramids of
both frames are read along the flow, scaled to the moment, and fused by a U-Net's decoder (Sec. 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.interpolators.warping import warped

SLOPE = 0.2
LEVELS = 7
FUSED_LEVELS = 5
DEPTH = 4
"""Levels that an extractor looks down, and those of the fusion that refine."""
OWN_PREDICTORS = 3
MULTIPLE = 64
"""Sides are continued to a multiple of this."""

Pyramid = list[Tensor]


class Convolution(nn.Module):
    """A convolution that keeps the size, and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, activates: bool = True) -> None:
        super().__init__()
        # An even kernel reads one line more below and at the right.
        self.after = 1 - kernel % 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 - self.after)
        self.activates = activates

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The new features."""
        result = self.conv(F.pad(features, (0, self.after, 0, self.after)))
        return F.leaky_relu(result, SLOPE) if self.activates else result


class Extractor(nn.Module):
    """Features of one picture at its own size and at smaller ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inputs = [3, *(width * 2**level for level in range(DEPTH - 1))]
        self.convs = nn.ModuleList(
            nn.Sequential(
                Convolution(into, width * 2**level, 3),
                Convolution(width * 2**level, width * 2**level, 3),
            )
            for level, into in enumerate(inputs)
        )

    def forward(self, picture: Float[Tensor, "b 3 h w"], *, depth: int) -> Pyramid:
        """Features at every size; ``depth`` sizes at most are looked at."""
        found: Pyramid = []
        for level, layer in enumerate(self.convs):
            if level >= depth:
                break
            picture = layer(picture if level == 0 else F.avg_pool2d(picture, 2))
            found.append(picture)
        return found


class Features(nn.Module):
    """Features at every level, of the extractor's results that have the same size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.extract_sublevels = Extractor(width)

    def forward(self, pictures: Pyramid) -> Pyramid:
        """Features by level, the finest first."""
        found = [
            self.extract_sublevels(picture, depth=min(len(pictures) - level, DEPTH))
            for level, picture in enumerate(pictures)
        ]
        return [
            torch.cat([found[level - deep][deep] for deep in range(min(level, DEPTH - 1) + 1)], 1)
            for level in range(len(pictures))
        ]


class FlowPredictor(nn.Module):
    """The flow from the features of two pictures."""

    def __init__(self, inputs: int, width: int, convolutions: int) -> None:
        super().__init__()
        self._convs = nn.ModuleList(
            [
                *(
                    Convolution(width if index else inputs, width, 3)
                    for index in range(convolutions)
                ),
                Convolution(width, width // 2, 1),
                Convolution(width // 2, 2, 1, activates=False),
            ]
        )

    def forward(
        self, first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b 2 h w"]:
        """The flow in pixels."""
        features = torch.cat([first, second], 1)
        for layer in self._convs:
            features = layer(features)
        return features


class PyramidFlow(nn.Module):
    """Flow at every level: a residual on the flow of the coarser one."""

    def __init__(self, width: int, *, widths: Sequence[int], convolutions: Sequence[int]) -> None:
        super().__init__()
        channels = [2 * width * (2 ** (level + 1) - 1) for level in range(OWN_PREDICTORS + 1)]
        predictors = [
            FlowPredictor(*parts) for parts in zip(channels, widths, convolutions, strict=True)
        ]
        self._predictor = predictors[-1]
        # The coarsest of the others comes first.
        self._predictors = nn.ModuleList(predictors[:-1][::-1])

    def forward(self, first: Pyramid, second: Pyramid) -> Pyramid:
        """The flow by level, the finest first: where the first frame's pixels are in the second."""
        found: Pyramid = [self._predictor(first[-1], second[-1])]
        for level in reversed(range(len(first) - 1)):
            own = level < OWN_PREDICTORS
            predictor = self._predictors[OWN_PREDICTORS - 1 - level] if own else self._predictor
            flow = 2 * F.interpolate(found[-1], size=first[level].shape[-2:], mode="bilinear")
            found.append(flow + predictor(first[level], warped(second[level], flow)))
        return found[::-1]


class Fusion(nn.Module):
    """A decoder from the coarsest warped level to a picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        inputs = fused_channels(DEPTH, width)
        for level in reversed(range(DEPTH)):
            out = width * 2 ** min(level, OWN_PREDICTORS)
            joined = fused_channels(level, width) + out
            layers = [
                Convolution(inputs, out, 2, activates=False),
                Convolution(joined, out, 3),
                Convolution(out, out, 3),
            ]
            self.convs.append(nn.ModuleList(layers))
            inputs = out
        self.output_conv = nn.Conv2d(width, 3, 1)

    def forward(self, levels: Pyramid) -> Float[Tensor, "b 3 h w"]:
        """The picture."""
        features = levels[-1]
        for layers, level in zip(self.convs, reversed(levels[:-1]), strict=True):
            assert isinstance(layers, nn.ModuleList)
            larger = F.interpolate(features, size=level.shape[-2:], mode="nearest")
            features = layers[2](layers[1](torch.cat([level, layers[0](larger)], 1)))
        return self.output_conv(features)


def fused_channels(level: int, width: int) -> int:
    """Channels of a level's features, picture and flow, of both frames."""
    features = width * (2 ** (min(level, DEPTH - 1) + 1) - 1)
    return 2 * (features + 3 + 2)


class Film(nn.Module):
    """FILM.

    Args:
        width: of the finest features.
        widths: of the flow predictors, the finest first.
        convolutions: of size 3 in each of them.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        widths: Sequence[int] = (32, 64, 128, 256),
        convolutions: Sequence[int] = (3, 3, 3, 3),
    ) -> None:
        super().__init__()
        self.extract = Features(width)
        self.predict_flow = PyramidFlow(width, widths=widths, convolutions=convolutions)
        self.fuse = Fusion(width)

    def forward(
        self, first: Float[Tensor, "b 3 h w"], second: Float[Tensor, "b 3 h w"], t: float
    ) -> Float[Tensor, "b 3 h w"]:
        """The frame at a moment between two frames, 0 to 1; all with values from 0 to 1."""
        height, width = first.shape[-2:]
        pictures = [_pyramid(_continued(frame)) for frame in (first, second)]
        features = [self.extract(pyramid) for pyramid in pictures]
        # The moment's pixels are looked for along a share of the flow from either frame.
        to_first = [t * flow for flow in self.predict_flow(features[1], features[0])]
        to_second = [(1 - t) * flow for flow in self.predict_flow(features[0], features[1])]
        levels = [
            torch.cat(
                [
                    warped(torch.cat([pictures[0][i], features[0][i]], 1), to_first[i]),
                    warped(torch.cat([pictures[1][i], features[1][i]], 1), to_second[i]),
                    to_first[i],
                    to_second[i],
                ],
                1,
            )
            for i in range(FUSED_LEVELS)
        ]
        return self.fuse(levels)[..., :height, :width]


def _pyramid(picture: Float[Tensor, "b 3 h w"]) -> Pyramid:
    levels = [picture]
    while len(levels) < LEVELS:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _continued(frame: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c height width"]:
    """The frame, continued by its border to sides that every level divides."""
    height, width = frame.shape[-2:]
    return F.pad(frame, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
