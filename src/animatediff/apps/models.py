"""``animatediff models``: what can be named without downloading anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelsOptions:
    """Nothing to choose."""


def models(options: ModelsOptions) -> None:
    """Print one line for each model: its kind, its name, and what it is."""
    del options
    from animatediff.weights.builtin import list_models

    for model in list_models():
        print(model)
