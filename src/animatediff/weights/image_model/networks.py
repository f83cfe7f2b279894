"""Import diffusers and transformers without the dozens of architectures that are not used.

A package of diffusers imports all its architectures. Here, the code of such a package runs only when
somebody reads an attribute of the package itself (PEP 562 does the same for modules). Its content does
not change, and submodules are imported as usual.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType

WAITING = frozenset(
    {
        "diffusers.models.autoencoders",
        "diffusers.models.controlnets",
        "diffusers.models.transformers",
        "diffusers.models.unets",
        # Of schedulers that are imported with the others; where SciPy is installed, it takes seconds.
        "scipy.integrate",
        "scipy.stats",
    }
)
"""Packages whose own code is run only when it is needed."""
_USED = (
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
)
_CONTROL = (
    "diffusers.models.adapter",
    "diffusers.models.controlnets.controlnet",
    "diffusers.models.controlnets.controlnet_union",
)


def import_networks() -> None:
    """Import the classes of image models; does nothing the second time."""
    _import(_USED)


def import_control_networks() -> None:
    """Import the classes of control networks; does nothing the second time."""
    _import(_CONTROL)


def _import(names: Iterable[str]) -> None:
    with _waiting():
        for name in names:
            importlib.import_module(name)


@contextmanager
def _waiting() -> Generator[None]:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in WAITING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WaitingLoader(spec.loader)
        return spec


class _WaitingLoader(Loader):
    """Runs a package's code when a missing attribute is first read."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._lock = RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader

        def missing(name: str) -> object:
            if name.startswith("__") and name != "__all__":  # questions of tools, not of users
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            with self._lock:
                if vars(module).pop("__getattr__", None) is not None:
                    try:
                        self._loader.exec_module(module)
                    except BaseException:
                        vars(module)["__getattr__"] = missing
                        raise
            return getattr(module, name)

        vars(module)["__getattr__"] = missing
