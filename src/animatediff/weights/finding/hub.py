"""Download published models from the Hugging Face Hub.

First the hub is asked for the commit, size and licence of a file. Only if the user accepts is it
downloaded, and its size and hash are checked.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from animatediff.errors import FileError, InputError, OutputError, reason_of
from animatediff.weights.finding.catalog import Published


@dataclass(frozen=True)
class Offer:
    """What the hub says about a file before it is downloaded.

    Attributes:
        repository: on the hub.
        file: in the repository.
        revision: the commit.
        size: in bytes; 0 if unknown.
        sha256: of the file; empty if unknown.
        licence: of the repository; empty if unknown.
    """

    repository: str
    file: str
    revision: str
    size: int
    sha256: str
    licence: str


class Hub(Protocol):
    """A place with published models."""

    def offer(self, repository: str, file: str, *, revision: str) -> Offer:
        """Return the name, size and hash of a file.

        Raises:
            InputError: it does not exist, or the hub cannot be reached.
        """
        ...

    def fetch(self, offer: Offer, *, into: Path) -> Path:
        """Download the file into the folder ``into``.

        Raises:
            InputError: it does not exist, or the hub cannot be reached.
        """
        ...


class HuggingFace:
    """The Hugging Face Hub, through its own library."""

    def offer(self, repository: str, file: str, *, revision: str) -> Offer:
        """See ``Hub``."""
        from huggingface_hub import HfApi

        try:
            facts: Any = HfApi().model_info(repository, revision=revision, files_metadata=True)
        except Exception as error:  # noqa: BLE001 - its errors are those of several HTTP libraries
            raise _unreachable(repository, error) from None
        entry = next((entry for entry in facts.siblings or () if entry.rfilename == file), None)
        if entry is None:
            raise InputError(f"{repository} at {revision} has no {file}.")
        card = facts.card_data.to_dict() if facts.card_data else {}
        return Offer(
            repository=repository,
            file=file,
            revision=str(facts.sha or revision),
            size=int(entry.size or 0),
            sha256=str(entry.lfs.sha256) if entry.lfs else "",
            licence=str(card.get("license_name") or card.get("license") or ""),
        )

    def fetch(self, offer: Offer, *, into: Path) -> Path:
        """See ``Hub``."""
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(
                offer.repository, offer.file, revision=offer.revision, local_dir=into
            )
        except Exception as error:  # noqa: BLE001 - as above
            raise _unreachable(offer.repository, error) from None
        return Path(path)


def _unreachable(repository: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return InputError(f"{repository} cannot be fetched from ({reason}).")


def pull(
    model: Published, *, hub: Hub, accept: Callable[[Offer], bool]
) -> tuple[Path, Offer] | None:
    """Download a published model into our own folder, unless it is declined.

    Args:
        model: the model.
        hub: where to download from.
        accept: called with everything known about the file; returns whether to continue.

    Raises:
        InputError: the hub cannot be reached, or gives another hash than the catalogue.
        FileError: the download is not what the hub announced.
        OutputError: the folder cannot be written.
    """
    offer = hub.offer(model.repository, model.file, revision=model.revision)
    if model.sha256 and offer.sha256 and offer.sha256 != model.sha256:
        raise InputError(
            f"{model.repository} now has another {model.file} (SHA-256 {offer.sha256:.10}) than the "
            f"catalogue says ({model.sha256:.10}); check which is right before you fetch it."
        )
    if not accept(offer):
        return None
    try:
        model.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=model.path.parent, prefix=".pull-") as folder:
            arrived = hub.fetch(offer, into=Path(folder))
            _check(arrived, offer, sha256=model.sha256 or offer.sha256)
            _keep(arrived, model.path)
    except OSError as error:
        reason = reason_of(error)
        raise OutputError(f"{model.path} cannot be written ({reason}).") from None
    return model.path, offer


def _check(path: Path, offer: Offer, *, sha256: str) -> None:
    size = path.stat().st_size
    if offer.size and size != offer.size:
        raise FileError(
            f"{offer.file} arrived with {size} bytes instead of {offer.size}; try again."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and found != sha256:
        raise FileError(
            f"{offer.file} arrived with the SHA-256 {found:.10} instead of {sha256:.10}; "
            "it was thrown away."
        )


def _keep(arrived: Path, target: Path) -> None:
    """Move a file to its place as safetensors; a pickle is converted in a confined process."""
    from animatediff.weights.storage.files import is_pickle, read_header, replace_by
    from animatediff.weights.storage.legacy import converted_to_safetensors

    if is_pickle(arrived):
        converted_to_safetensors(arrived, target)
        return
    read_header(arrived)
    beside = target.with_name(f".{target.name}.new")
    arrived.replace(beside)
    replace_by(beside, target)
