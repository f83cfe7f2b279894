"""The user's defaults, in ``config.toml`` of the user's configuration folder.

``animatediff config`` shows them, and sets one. They only decide where outputs go by default;
nothing in them changes what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from platformdirs import user_config_path
from tyro.conf import Positional, arg

from animatediff.apps.naming import check_template
from animatediff.config import dump_toml, load_toml, nearest
from animatediff.errors import FileError, InputError, OutputError, reason_of


@dataclass(frozen=True)
class UserConfig:
    """The content of ``config.toml``; an empty text leaves the program's own default.

    Attributes:
        folder: where outputs go if no ``--output`` is given.
        name: how outputs are named if no ``--output`` is given, such as ``{date}-{prompt}-{seed}``.
    """

    folder: str = ""
    name: str = ""


@dataclass(frozen=True)
class ConfigOptions:
    """Options of ``animatediff config``."""

    key: Annotated[Positional[str], arg(metavar="KEY")] = ""
    """folder: where outputs go. name: a template of their names. Without KEY, all are shown."""
    value: Annotated[Positional[str], arg(metavar="VALUE")] = ""
    """The new value; `default` restores the program's own. Without VALUE, KEY is shown."""


def config(options: ConfigOptions) -> None:
    """Show the user's defaults, or set one.

    Raises:
        InputError: there is no such key, or the value cannot be used.
        FileError: ``config.toml`` is broken.
        OutputError: it cannot be written.
    """
    now = read_user_config()
    known = [field.name for field in fields(UserConfig)]
    if not options.key:
        print(f"# {config_path()}")
        print(dump_toml(now), end="")
        return
    if options.key not in known:
        close = nearest(options.key, known)
        remedy = f"did you mean {close}?" if close else f"it is one of {', '.join(known)}."
        raise InputError(f"There is no setting {options.key!r:.40}; {remedy}")
    if not options.value:
        print(getattr(now, options.key))
        return
    value = "" if options.value == "default" else options.value
    changed = replace(now, **{options.key: value})
    if changed.folder:
        changed = replace(changed, folder=str(Path(changed.folder).expanduser().absolute()))
        if not Path(changed.folder).is_dir():
            raise InputError(f"There is no folder {changed.folder}; create it first.")
    if changed.name:
        check_template(changed.name, option="The name")
    write_config(config_path(), dump_toml(changed))
    print(f"{options.key} = {getattr(changed, options.key) or 'default'}")


def config_path() -> Path:
    """Where the defaults are stored."""
    return user_config_path("animatediff") / "config.toml"


def read_user_config() -> UserConfig:
    """The user's defaults.

    Raises:
        FileError, InputError: the file exists and is broken.
    """
    path = config_path()
    try:
        return load_toml(path, UserConfig) if path.is_file() else UserConfig()
    except FileError as error:
        raise FileError(f"{error} Remove it, or mend it.") from None


def write_config(path: Path, text: str) -> None:
    """Write a file of the user's configuration folder whole; the folder is created.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}.") from None
