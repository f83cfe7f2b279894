"""``animatediff models``: list models, verify their files, and download published ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from animatediff.apps.options.parsing import optional
from animatediff.errors import FileError, InputError
from animatediff.weights.roles import RoleName, usable_roles

if TYPE_CHECKING:
    from animatediff.weights.finding.folders import Found
    from animatediff.weights.finding.hub import Hub, Offer


@dataclass(frozen=True)
class ModelsOptions:
    """Options of ``animatediff models``."""

    action: Annotated[
        Positional[Literal["list", "verify", "pull", "add"]], arg(metavar="ACTION")
    ] = "list"
    """list (default): print the available names. verify: check that files are complete and print their
    hashes. pull: download a published model; only pull downloads anything. add: look for models in
    more folders, such as those of A1111 or ComfyUI.
    """
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME")] = ()
    """For verify: names or files (default: all). For pull: short names. For
    add: folders.
    """
    kind: Annotated[RoleName | None, optional("KIND")] = None
    """Only models for this option: model, motion, lora, motion-lora, adapter, vae, embedding."""
    yes: bool = False
    """Download without asking."""


def models(options: ModelsOptions) -> int:
    """List, verify or download models.

    Raises:
        InputError, FileError, OutputError: see ``errors.py``.
    """
    match options.action:
        case "list":
            return _list(options)
        case "verify":
            return _verify(options)
        case "add":
            return _add(options)
        case "pull":
            from animatediff.weights.finding.hub import HuggingFace

            return pull_all(options, hub=HuggingFace())


def _list(options: ModelsOptions) -> int:
    """Print one line per model: its kind, its name, and a description or its place."""
    from animatediff.weights.finding.builtin import list_models
    from animatediff.weights.finding.catalog import catalog

    if options.names:
        raise InputError("list takes no names; use --kind.")
    wanted = _roles(options)
    for model in list_models():
        if model.kind in wanted:
            print(model)
    for found in _found(wanted):
        print(f"{found.role:<11} {found.name:<18} {found.path}")
    absent = [
        (name, m) for name, m in catalog().items() if m.role in wanted and not m.path.exists()
    ]
    if absent:
        print("\nnot on this machine; download with animatediff models pull NAME:")
    for name, model in absent:
        print(f"{model.role:<11} {name:<18} {model.about}")
    return 0


def _add(options: ModelsOptions) -> int:
    """Store folders in the user's ``models.toml``; print what was found in each."""
    from animatediff.apps.commands.user_config import write_config
    from animatediff.config import dump_toml
    from animatediff.weights.finding.folders import Settings, list_in, read_settings, settings_path

    if not options.names:
        raise InputError("models add needs a FOLDER, such as ~/ComfyUI.")
    known = list(read_settings().folders)
    for name in options.names:
        folder = Path(name).expanduser().absolute()
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}; give one that exists.")
        found = list_in(folder)
        if not found:
            raise InputError(
                f"{folder} has no models in the folders that this package, A1111 or ComfyUI use; "
                "give the program's own folder."
            )
        if str(folder) not in known:
            known.append(str(folder))
        print(f"{folder}: {len(found)} models")
    write_config(settings_path(), dump_toml(Settings(tuple(known))))
    return 0


def _roles(options: ModelsOptions) -> tuple[RoleName, ...]:
    return (options.kind,) if options.kind is not None else tuple(r.name for r in usable_roles())


def _found(wanted: tuple[RoleName, ...]) -> Iterator[Found]:
    from animatediff.weights.finding.folders import list_found

    seen: set[Path] = set()
    for role in wanted:
        for found in list_found(role):
            if found.path not in seen:  # one folder may serve several roles
                seen.add(found.path)
                yield found


def _verify(options: ModelsOptions) -> int:
    """Read every header and hash every file; returns exit code 3 if one is broken."""
    from animatediff.weights.inspect import inspect
    from animatediff.weights.storage.files import sha256_of

    broken = 0
    for name, path in _files(options):
        try:
            title = inspect(path).title
            digest = sha256_of(path)
        except FileError as error:
            print(f"broken  {name}: {error}")
            broken += 1
            continue
        print(f"whole   {name}: {title}; AutoV2 {digest[:10].upper()}, SHA-256 {digest}")
    return FileError.exit_code if broken else 0


def _files(options: ModelsOptions) -> Iterator[tuple[str, Path]]:
    """Yield the weight files to check, each with its name."""
    from animatediff.weights.finding.builtin import BUILTIN
    from animatediff.weights.finding.model_folders import ModelFolder

    wanted = _roles(options)
    if options.names:
        for name in options.names:
            yield from _named(name, wanted)
        return
    for path in sorted(BUILTIN.rglob("*.safetensors")):
        yield path.relative_to(BUILTIN).as_posix(), path
    for found in _found(wanted):
        if found.path.is_dir():
            for part, path in ModelFolder(found.name, found.path).weights().items():
                yield f"{found.name}/{part}", path
        else:
            yield found.name, found.path


def _named(name: str, wanted: tuple[RoleName, ...]) -> Iterator[tuple[str, Path]]:
    from animatediff.weights.finding.builtin import resolve, resolve_model

    for role in wanted:
        try:
            if role == "model":
                parts = resolve_model(name).weights()
                yield from ((f"{name}/{part}", path) for part, path in parts.items())
            else:
                yield name, resolve(role, name)
        except InputError:
            continue
        return
    raise InputError(
        f"There is no model {name!r:.80}; animatediff models lists the available ones."
    )


def pull_all(options: ModelsOptions, *, hub: Hub) -> int:
    """Describe each file, ask, and download; returns exit code 2 if one was declined.

    Raises:
        InputError, FileError, OutputError: see ``weights/finding/hub.py``.
    """
    from animatediff.weights.finding.catalog import catalog, published
    from animatediff.weights.finding.hub import pull

    if not options.names:
        raise InputError(f"Name what to download; known are {', '.join(catalog())}.")
    chosen = [(name, published(name)) for name in options.names]
    declined = 0
    for name, model in chosen:
        pulled = pull(model, hub=hub, accept=lambda offer: _accepted(offer, yes=options.yes))
        if pulled is None:
            print(f"{name} was not downloaded.")
            declined += 1
        else:
            print(f"{name} is at {pulled[0]}; use it as --{model.role} {name}.")
    return InputError.exit_code if declined else 0


def _accepted(offer: Offer, *, yes: bool) -> bool:
    size = f"{offer.size / 1e6:,.1f} MB" if offer.size else "unknown"
    print(
        f"{offer.repository}, {offer.file}\n"
        f"  size      {size}\n"
        f"  licence   {offer.licence or 'not said; see the repository'}\n"
        f"  revision  {offer.revision}\n"
        f"  SHA-256   {offer.sha256 or 'not said'}"
    )
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("There is no terminal to ask on; add --yes to download it.")
    return input("Fetch it? [y/N] ").strip().lower() in ("y", "yes")
