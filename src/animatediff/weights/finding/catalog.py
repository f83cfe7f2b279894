"""Short names of published models, and where to download them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_config_path

from animatediff.config import from_table, nearest
from animatediff.errors import FileError, InputError
from animatediff.weights.finding.folders import own_folder
from animatediff.weights.roles import ROLES, RoleName

SHIPPED = Path(__file__).resolve().parent / "catalog.toml"


@dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
        role: which option takes it.
        repository: on Hugging Face.
        file: its path in the repository.
        about: one line that describes it.
        family: of a motion module.
        revision: a commit to fetch instead of the latest.
        sha256: expected hash of the file, if known.
    """

    role: RoleName
    repository: str
    file: str
    about: str
    family: str = ""
    revision: str = "main"
    sha256: str = ""

    @property
    def path(self) -> Path:
        """The file that ``pull`` writes; always safetensors."""
        name = Path(self.file).with_suffix(".safetensors").name
        return own_folder() / ROLES[self.role].own[0] / name


def catalog() -> dict[str, Published]:
    """Return every published model with a short name, including the user's own entries.

    Raises:
        FileError, InputError: the user's catalogue is broken.
    """
    entries = dict(_read(SHIPPED))
    users = user_config_path("animatediff") / "catalog.toml"
    if users.is_file():
        entries.update(_read(users))
    return entries


def published(name: str) -> Published:
    """Return the published model with this short name.

    Raises:
        InputError: there is none.
    """
    known = catalog()
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}."
        raise InputError(f"There is no published model {name!r:.80}; {hint}")
    return known[name]


def _read(path: Path) -> Mapping[str, Published]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} is not a catalogue in TOML: {str(error).splitlines()[0]}."
        ) from None
    entries: dict[str, Published] = {}
    for name, row in table.items():
        if not isinstance(row, dict):
            raise InputError(f"{path} says {name} outside of a table; write [{name}] above it.")
        entries[name] = from_table(row, Published, source=f"{path}, [{name}],")
    return entries
