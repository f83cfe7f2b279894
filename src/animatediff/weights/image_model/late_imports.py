"""Import libraries without their unused modules, whose code runs at the first use.

A package of diffusers or transformers imports everything that it has, and the modules that every
network needs import names that no animation uses: compilers, servers, quantizers. Here such a module
runs its code when one of its names is first used. Until then, a module that imports the name has a
``Late`` in its place. Content does not change, and submodules are imported as usual.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock, get_ident
from types import ModuleType
from typing import Any, TypeVar

Decorated = TypeVar("Decorated")


@contextmanager
def late_imports(
    names: Collection[str], *, decorators: Mapping[str, str] | None = None
) -> Generator[None]:
    """Within the context, this thread's first imports of some modules do not run their code yet.

    Args:
        names: the modules and packages, with dots. Unknown ones do nothing.
        decorators: by package, the one decorator that others import from it, which must return what it
            is given. It is applied when the package's code runs.
    """
    finder = _Finder(names, decorators or {})
    sys.meta_path.insert(0, finder)
    distributions = importlib.metadata.packages_distributions
    # diffusers lists the files of every installed distribution, and then looks up none of them.
    importlib.metadata.packages_distributions = lambda: _Distributions(distributions)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = distributions
        sys.meta_path.remove(finder)
        for module, decorated in finder.forget():
            _DECORATING.add(module, *decorated)


class Late:
    """Stands for a name of a module that is not yet imported; using it imports the module.

    It can be called, read, indexed, subclassed and asked whether something is an instance of it, and it
    can stand in annotations.

    Args:
        module: the module.
        name: of its attribute.
    """

    def __init__(self, module: str, name: str) -> None:
        self.__module__ = module
        self.__name__ = self.__qualname__ = name

    def _real(self) -> Any:
        module = importlib.import_module(self.__module__)
        if isinstance(module.__loader__, _LateLoader):
            module.__loader__.run(module)
        return getattr(module, self.__name__)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call what the name stands for."""
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # questions of tools, not of users
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return getattr(self._real(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._real()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._real()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real())

    def __len__(self) -> int:
        return len(self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, value: object) -> bool:
        # transformers asks it of caches that are not there, in every attention layer.
        return value is not None and isinstance(value, self._real())

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self._real())

    def __or__(self, other: Any) -> Any:
        return Any

    def __ror__(self, other: Any) -> Any:
        return Any

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__name__}, not yet imported>"


class _Distributions(Mapping[str, list[str]]):
    """What ``importlib.metadata.packages_distributions`` returns, computed when it is first read."""

    def __init__(self, compute: Callable[[], Mapping[str, list[str]]]) -> None:
        self._compute = compute
        self._found: Mapping[str, list[str]] | None = None

    def _all(self) -> Mapping[str, list[str]]:
        if self._found is None:
            self._found = self._compute()
        return self._found

    def __getitem__(self, key: str) -> list[str]:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Finder(MetaPathFinder):
    """Finds modules whose code is to wait."""

    def __init__(self, names: Collection[str], decorators: Mapping[str, str]) -> None:
        self._names, self._decorators = names, decorators
        self._thread = get_ident()

    @property
    def active(self) -> bool:
        """Whether this thread is within the context."""
        return self in sys.meta_path and get_ident() == self._thread

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        decorator = self._decorators.get(fullname)
        if not self.active or (decorator is None and fullname not in self._names):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader, self, decorator)
        return spec

    def forget(self) -> list[tuple[str, tuple[str, list[Any]]]]:
        """Take back modules that wait, so that who needs them imports them as usual.

        A package stays, and still waits, if a module of it has been imported.

        Returns:
            For each package taken back of which something was decorated: the decorator, and what.
        """
        decorated: list[tuple[str, tuple[str, list[Any]]]] = []
        for name in sorted({*self._names, *self._decorators}, key=len, reverse=True):
            module = sys.modules.get(name)
            loader = getattr(module, "__loader__", None)
            if not isinstance(loader, _LateLoader) or loader.finder is not self:
                continue
            if any(other.startswith(f"{name}.") for other in tuple(sys.modules)):
                continue
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(attribute, None)
            if loader.decorator is not None and loader.decorated:
                decorated.append((name, (loader.decorator, loader.decorated)))
        return decorated


class _LateLoader(Loader):
    """Runs a module's code when one of its names is used."""

    def __init__(self, loader: Loader, finder: _Finder, decorator: str | None) -> None:
        self.finder, self.decorator = finder, decorator
        self.decorated: list[Any] = []
        self._loader = loader
        self._lock = RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._wait(module)

    def _wait(self, module: ModuleType) -> None:
        def missing(name: str) -> object:
            return self._missing(module, name)

        module.__loader__ = self
        vars(module)["__getattr__"] = missing

    def _missing(self, module: ModuleType, name: str) -> object:
        if name == "__version__" and "." not in module.__name__:
            return importlib.metadata.version(module.__name__)
        if name.startswith("__") and name != "__all__":  # questions of tools, not of users
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        if name == self.decorator:
            return self._decorate
        if self.finder.active:
            # "from package import module" asks for an attribute before it looks for the module.
            if _has_submodule(module, name):
                return importlib.import_module(f"{module.__name__}.{name}")
            return Late(module.__name__, name)
        self.run(module)
        return getattr(module, name)

    def _decorate(self, value: Decorated) -> Decorated:
        """Return what is decorated; the real decorator is applied when the code has run."""
        self.decorated.append(value)
        return value

    def run(self, module: ModuleType) -> None:
        """Run the module's code; does nothing the second time."""
        with self._lock:
            if module.__loader__ is not self:
                return
            module.__loader__ = self._loader
            if module.__spec__ is not None:
                module.__spec__.loader = self._loader
            del vars(module)["__getattr__"]
            try:
                self._loader.exec_module(module)
            except BaseException:
                self._wait(module)
                raise
            now = sys.modules.get(module.__name__, module)
            if now is not module:  # transformers puts another module in its place

                def of_the_other(name: str) -> object:
                    return getattr(now, name)

                vars(module)["__getattr__"] = of_the_other
            if self.decorator is not None:
                _decorate_all(module, self.decorator, self.decorated)


class _Decorating(MetaPathFinder):
    """Applies decorators to what was decorated before their package was imported, once it is."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, list[Any]]] = {}

    def add(self, module: str, decorator: str, values: list[Any]) -> None:
        earlier = self._waiting.get(module, (decorator, []))[1]
        self._waiting[module] = (decorator, [*earlier, *values])
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        waiting = self._waiting.pop(fullname, None)
        if waiting is None:
            return None
        if not self._waiting:
            sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DecoratingLoader(spec.loader, *waiting)
        return spec


_DECORATING = _Decorating()


class _DecoratingLoader(Loader):
    """Imports a module and applies a decorator of it."""

    def __init__(self, loader: Loader, decorator: str, values: list[Any]) -> None:
        self._loader, self._decorator, self._values = loader, decorator, values

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _decorate_all(module, self._decorator, self._values)


def _decorate_all(module: ModuleType, decorator: str, values: list[Any]) -> None:
    for value in values:
        getattr(module, decorator)(value)


def _has_submodule(module: ModuleType, name: str) -> bool:
    path = getattr(module, "__path__", None)
    return path is not None and PathFinder.find_spec(f"{module.__name__}.{name}", path) is not None
