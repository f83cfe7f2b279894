"""How much each layer's residual counts: evenly, less in shallow layers, or by given numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from animatediff.errors import InputError

SOFT = 0.825
"""Weight of a layer to the one below it (the original ControlNet's guess mode)."""
_SOFT_BLOCKS = (0.25, 0.62, 0.825, 1.0)
"""The same of the four features of a T2I-Adapter."""

Curve = Literal["even", "soft", "guess"]


@dataclass(frozen=True)
class LayerWeights:
    """Weights of the layers of a network.

    Attributes:
        curve: ``soft`` is 0.825^(n-i) for layer i of n, ``guess`` rises from 0.1 to 1 in equal
            ratios, as diffusers' guess mode does; the last is the middle block's, 1.
        numbers: weights by hand instead, the shallowest first; ``None`` for the curve.
    """

    curve: Curve = "even"
    numbers: tuple[float, ...] | None = None

    def of(self, layers: int, *, blocks: bool = False) -> tuple[float, ...]:
        """The weights of so many layers, the middle block's among them as the last.

        Args:
            layers: how many there are.
            blocks: whether they are the features of a T2I-Adapter.

        Raises:
            InputError: there are not as many numbers as layers.
        """
        if self.numbers is not None:
            if len(self.numbers) != layers:
                raise InputError(
                    f"{len(self.numbers)} control weights were given, and this network has {layers} "
                    "layers; give one for each."
                )
            return self.numbers
        if self.curve == "soft" and blocks and layers == len(_SOFT_BLOCKS):
            return _SOFT_BLOCKS
        return tuple(_CURVES[self.curve](layer, layers - 1) for layer in range(layers))


_CURVES: dict[Curve, Callable[[int, int], float]] = {
    "even": lambda layer, last: 1.0,  # noqa: ARG005 - all curves are called alike
    "soft": lambda layer, last: SOFT ** (last - layer),
    "guess": lambda layer, last: 10 ** (layer / last - 1) if last else 1.0,
}


def parse_layer_weights(text: str) -> LayerWeights:
    """Weights from an option: ``even``, ``soft``, ``guess``, or numbers with commas.

    Raises:
        InputError: it is none of these.
    """
    word = text.strip()
    if word in _CURVES:
        return LayerWeights(word)  # pyright: ignore[reportArgumentType] - a key of the table
    try:
        numbers = tuple(float(part) for part in word.split(","))
    except ValueError:
        numbers = (-1.0,)
    if not all(0 <= number <= 10 for number in numbers):
        raise InputError(
            f"{text!r:.40} are no control weights; write even, soft, guess, or numbers from 0 to 10 "
            "with commas."
        )
    return LayerWeights(numbers=numbers)
