"""Loaded models of one worker: kept between jobs, bounded in memory, the least recently used leaves."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


class Key(Protocol):
    """What must be loaded for a request."""

    def serves(self, wanted: object) -> bool:
        """Whether what was loaded for this key also does for another."""
        ...


@dataclass(frozen=True)
class Held(Generic[V]):
    """One loaded model.

    Attributes:
        key: what it was loaded for.
        value: the model.
        size: its bytes.
    """

    key: Key
    value: V
    size: int


class Pool(Generic[V]):
    """Models by what they were loaded for.

    Args:
        most: bytes that all of them may have together; a single larger one is kept alone.
        size_of: the bytes of a loaded model.
        release: called after models left, so that their memory is freed.
    """

    def __init__(
        self, *, most: int, size_of: Callable[[V], int], release: Callable[[], None] = lambda: None
    ) -> None:
        self.most = most
        self._size_of = size_of
        self._release = release
        self._held: list[Held[V]] = []  # the least recently used first

    @property
    def held(self) -> tuple[Held[V], ...]:
        """What is loaded, the least recently used first."""
        return tuple(self._held)

    def get(self, key: Key, *, load: Callable[[], V], estimate: int) -> V:
        """The model for a key: the one that is loaded, or a new one.

        Args:
            key: what is needed.
            load: loads it.
            estimate: how many bytes it will probably have, to make room before it is loaded.
        """
        for number, held in enumerate(self._held):
            if held.key.serves(key):
                self._held.append(self._held.pop(number))
                return held.value
        self._make_room(estimate)
        value = load()
        size = self._size_of(value)
        self._make_room(size)
        self._held.append(Held(key, value, size))
        return value

    def keep_only(self, value: V) -> int:
        """Drop everything but one model; returns how many left."""
        before = len(self._held)
        self._held = [held for held in self._held if held.value is value]
        self._freed()
        return before - len(self._held)

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self._freed()

    def _make_room(self, size: int) -> None:
        left = False
        while self._held and sum(held.size for held in self._held) + size > self.most:
            self._held.pop(0)
            left = True
        if left:
            self._freed()

    def _freed(self) -> None:
        gc.collect()
        self._release()
