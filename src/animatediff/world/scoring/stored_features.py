"""Features of the stills, extracted once, a file per style and view, and resumed after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from animatediff.data.shards import Sample, on_white, read_shards
from animatediff.errors import FileError
from animatediff.world.scoring.lite0 import pictures_from

_BATCH = 4  # The maps of more pictures leave a processor's cache, which takes twice as long.


@dataclass(frozen=True)
class Still:
    """The labels of a still, from which the scorer learns together with its picture."""

    key: str
    hexcode: str
    label: str
    style: str
    split: str
    group: int

    @classmethod
    def of(cls, sample: Sample) -> Still:
        """The facts of a sample."""
        meta = sample.meta
        return cls(
            key=sample.key,
            hexcode=str(meta["hexcode"]),
            label=str(meta["label"]),
            style=str(meta["style"]),
            split=str(meta["split"]),
            group=int(meta["group"]),
        )


def style_folders(stills: Path) -> tuple[Path, ...]:
    """The folders of shards, one per style.

    Raises:
        FileError: there are none.
    """
    folders = tuple(sorted({shard.parent for shard in stills.glob("*/*.tar")}))
    if not folders:
        raise FileError(
            f"{stills} holds no style folders of shards; render them with `animatediff dataset emoji`."
        )
    return folders


@dataclass(frozen=True)
class Description:
    """One way to look at stills.

    Attributes:
        name: part of the file names; another way to look needs another name.
        num_views: views of each still.
        view: a picture, its still and the view's number to the view.
        features: pictures in [0, 1] to features.
    """

    name: str
    num_views: int
    view: Callable[[Float[Tensor, "3 h w"], Still, int], Float[Tensor, "3 h w"]]
    features: Callable[[Float[Tensor, "n 3 h w"]], Float[Tensor, "n features"]]


@dataclass(frozen=True)
class StoredFeatures:
    """Features of stills, row by row, in every view."""

    stills: tuple[Still, ...]
    views: tuple[Float[Tensor, "n features"], ...]

    def where(self, wanted: Callable[[Still], bool]) -> Bool[Tensor, " n"]:
        """Which rows are of wanted stills."""
        return torch.tensor([wanted(still) for still in self.stills])


def stored_features(stills: Path, *, description: Description, cache: Path) -> StoredFeatures:
    """Features of every still in every view, extracted where ``cache`` lacks them.

    Raises:
        FileError: there are no stills, or the cache is of others.
    """
    folders = style_folders(stills)
    cache.mkdir(parents=True, exist_ok=True)
    views: list[Tensor] = []
    known: tuple[Still, ...] = ()
    for view in range(description.num_views):
        parts: list[tuple[tuple[Still, ...], Tensor]] = []
        for folder in folders:
            path = cache / f"{folder.name}-{description.name}-view{view}.safetensors"
            if not path.exists():
                _store(*_extract(folder, description=description, view=view), path)
            parts.append(_read(path))
        seen = tuple(still for part, _ in parts for still in part)
        if view > 0 and seen != known:
            raise FileError(f"The features in {cache} are of other stills; delete that folder.")
        known = seen
        views.append(torch.cat([features for _, features in parts]))
    return StoredFeatures(known, tuple(views))


def _extract(
    folder: Path, *, description: Description, view: int
) -> tuple[tuple[Still, ...], Float[Tensor, "n features"]]:
    stills: list[Still] = []
    rows: list[Tensor] = []
    pending: list[Tensor] = []

    def finish() -> None:
        if pending:
            with torch.no_grad():
                rows.append(description.features(torch.stack(pending)))
            pending.clear()

    for sample in read_shards(folder):
        still = Still.of(sample)
        picture = pictures_from(torch.from_numpy(on_white(sample.image))[None])[0]
        pending.append(description.view(picture, still, view))
        stills.append(still)
        if len(pending) == _BATCH:
            finish()
    finish()
    return tuple(stills), torch.cat(rows)


def _store(stills: tuple[Still, ...], features: Float[Tensor, "n features"], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    facts = json.dumps([asdict(still) for still in stills], ensure_ascii=False)
    save_file({"features": features.half()}, temporary, metadata={"stills": facts})
    temporary.replace(path)


def _read(path: Path) -> tuple[tuple[Still, ...], Float[Tensor, "n features"]]:
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["stills"])
        features = file.get_tensor("features").float()
    return tuple(Still(**fact) for fact in facts), features
