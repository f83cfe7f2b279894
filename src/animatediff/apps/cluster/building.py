"""Build a dataset on a Ray cluster: clips are hashed, measured, decoded and encoded by its actors.

The driver plans, and writes the shards in the order of the plan, so that they are the bytes of a build
on one machine. Every node must see the clips and the model under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from animatediff.apps.cluster.crew import Crew, Task
from animatediff.apps.cluster.joining import (
    ClusterOptions,
    Failed,
    connected,
    packed,
    unpacked,
    versions_here,
)
from animatediff.data.builds.samples import BuildOptions, Planned, sha256_of_clip
from animatediff.data.builds.write import Looked, decoded, measured, members_of, window_of
from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.facts_cache import FactsCache
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.media import Limits
from animatediff.data.layouts.listing import ClipEntry
from animatediff.errors import FileError

if TYPE_CHECKING:
    from animatediff.model.fast.linear_library import Library


@dataclass(frozen=True)
class Order:
    """What an actor needs to know to build.

    Attributes:
        options: of the build.
        model: encodes; ``none`` stores frames alone.
        limits: of decoding.
        device: where the model runs.
        threads: of the actor.
        libraries: that the driver uses for linear layers, so that all round alike.
    """

    options: BuildOptions
    model: str
    limits: Limits
    device: str
    threads: int | None
    libraries: Mapping[str, Library]


class Builder:
    """The actor: a decoder in a confined process of its own, and the loaded encoders."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._decoder = Decoder(order.limits)
        self._encoder: Any = None

    def hello(self) -> bytes:
        """The versions of this process."""
        return packed(versions_here())

    def hash(self, entry: ClipEntry) -> bytes:
        """The SHA-256 of a clip's bytes."""
        try:
            return packed({"sha256": sha256_of_clip(entry.media)})
        except FileError as error:
            return packed({"failed": str(error)})

    def measure(self, entry: ClipEntry) -> bytes:
        """What a clip is."""
        try:
            return packed({"facts": asdict(measured(self._decoder, entry))})
        except FileError as error:
            return packed({"failed": str(error)})

    def make(self, plan: Planned) -> bytes:
        """The files of a sample: their suffixes and sizes, then their bytes."""
        options = self._order.options
        try:
            frames = decoded(self._decoder, plan, options)
        except FileError as error:
            return packed({"failed": str(error)})
        members = members_of(plan, frames, options, self._loaded())
        sizes = [[suffix, len(content)] for suffix, content in members.items()]
        return packed({"members": sizes}, b"".join(members.values()))

    def _loaded(self) -> Any:
        if self._order.model != "none" and self._encoder is None:
            from animatediff.apps.encoding import load_encoder
            from animatediff.model.fast.linear_library import take_over

            order = self._order
            take_over(order.libraries)
            self._encoder, _ = load_encoder(
                order.model, size=order.options.size, device=order.device, threads=order.threads
            )
        return self._encoder


class OnCluster:
    """The labour of a build, by a crew.

    Args:
        order: for the actors.
        options: of the cluster.

    Raises:
        InputError: the cluster cannot be joined.
    """

    def __init__(self, order: Order, options: ClusterOptions) -> None:
        self._crew = Crew(connected(options), options, Builder, (order,))

    def look(
        self, entries: Sequence[ClipEntry], known: FactsCache
    ) -> Iterator[tuple[ClipEntry, Looked | FileError]]:
        """As ``Labour`` says."""
        hashes = [_head(data) for _, data in self._crew.in_order(_tasks("hash", entries))]
        sources = [head.get("sha256", "") for head in hashes]
        unknown = [
            number
            for number, source in enumerate(sources)
            if source and known[window_of(entries[number], source)] is None
        ]
        measured_now = self._crew.in_order(_tasks("measure", [entries[n] for n in unknown]))
        unknown = frozenset(unknown)
        for number, head, source in zip(range(len(entries)), hashes, sources, strict=True):
            facts = known[window_of(entries[number], source)] if source else None
            if number in unknown:
                head = _head(next(measured_now)[1])
                facts = _facts(head["facts"]) if "facts" in head else None
            yield entries[number], FileError(head["failed"]) if facts is None else (source, facts)

    def make(
        self, plans: Sequence[Planned]
    ) -> Iterator[tuple[Planned, Mapping[str, bytes] | FileError]]:
        """As ``Labour`` says."""
        for task, data in self._crew.in_order(_tasks("make", plans)):
            if isinstance(data, Failed):
                yield plans[task.number], FileError(data.sentence)
                continue
            head, body = unpacked(data)
            if "failed" in head:
                yield plans[task.number], FileError(head["failed"])
                continue
            members: dict[str, bytes] = {}
            at = 0
            for suffix, size in head["members"]:
                members[suffix] = bytes(body[at : at + size])
                at += size
            yield plans[task.number], members

    def close(self) -> None:
        """End the actors."""
        self._crew.close()


def _tasks(method: str, arguments: Sequence[Any]) -> Iterator[Task]:
    return (Task(number, method, argument) for number, argument in enumerate(arguments))


def _head(data: bytes | Failed) -> dict[str, Any]:
    return {"failed": data.sentence} if isinstance(data, Failed) else unpacked(data)[0]


def _facts(table: Mapping[str, Any]) -> ClipFacts:
    fields: dict[str, Any] = {**table, "cuts": tuple(table["cuts"])}
    return ClipFacts(**fields)
