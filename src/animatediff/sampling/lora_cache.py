"""LoRAs in memory between requests: a few, and the least recently used leaves first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.lora import LoadedLora, fit_lora, read_lora

MOST_LORAS = 4


class LoraCache:
    """The LoRAs of one model that were read last.

    Args:
        base: the image model that they are for.
        most: how many are kept; a request with more keeps its own until the next one.
        known: LoRAs that were read already, by file.
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
        """Drop what was not used for longest, so that these can be read within the limit."""
        wanted = set(paths)
        room = max(self.most, len(wanted)) - len(wanted - self._held.keys())
        for path in [path for path in self._held if path not in wanted]:
            if len(self._held) <= room:
                break
            del self._held[path]

    def read(self, path: Path) -> LoadedLora:
        """A LoRA: the one in memory, or its file read now.

        Raises:
            FileError: it is broken, or for another model.
        """
        style = self._held.pop(path, None)
        if style is None:
            plan = fit_lora(read_lora(path), self.base.networks)
            style = plan.load(device=self.base.unet.device)
        self._held[path] = style
        return style
