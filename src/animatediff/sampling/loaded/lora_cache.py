"""Cache of loaded LoRAs; the least recently used is dropped first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from animatediff.runtime import device_of
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.lora import LoadedLora, fit_lora, read_lora

MOST_LORAS = 4


class LoraCache:
    """Cache of one model's LoRAs.

    Args:
        base: the image model.
        most: size of the cache; a request with more keeps its own until the next request.
        known: loaded LoRAs by file.
    """

    def __init__(
        self,
        base: BaseModel,
        *,
        most: int = MOST_LORAS,
        known: Mapping[Path, LoadedLora] | None = None,
    ) -> None:
        self.base = base
        self.most = most
        self._held = dict(known or {})  # the least recently used first

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._held)

    def make_room(self, paths: Sequence[Path]) -> None:
        """Drop the least recently used LoRAs, so that these fit."""
        wanted = set(paths)
        room = max(self.most, len(wanted)) - len(wanted - self._held.keys())
        for path in [path for path in self._held if path not in wanted]:
            if len(self._held) <= room:
                break
            del self._held[path]

    def read(self, path: Path) -> LoadedLora:
        """Return a LoRA from memory or its file.

        Raises:
            FileError: the file is broken, or for another model.
        """
        style = self._held.pop(path, None)
        if style is None:
            plan = fit_lora(read_lora(path), self.base.networks)
            style = plan.load(device=device_of(self.base.unet))
        self._held[path] = style
        return style
