"""Interfaces are Protocols, and classes are final: none subclasses a concrete class."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import animatediff

CLASS = re.compile(r"^ *class (\w+)(?:\(([^()]*)\))?:", re.MULTILINE)
ABSTRACT = {
    "BaseHTTPRequestHandler",
    "Dataset",
    "Generic",
    "Loader",
    "Mapping",
    "MetaPathFinder",
    "NamedTuple",
    "Protocol",
    "TorchFunctionMode",
    "TypedDict",
    "nn.Module",
    "torch.autograd.Function",
    "torch.optim.Optimizer",
}
"""Classes of others that are made to be subclassed."""


def is_error(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, Exception)


def test_no_class_subclasses_a_concrete_class() -> None:
    bases: dict[str, set[str]] = {}
    for path in Path(animatediff.__file__).parent.rglob("*.py"):
        for name, given in CLASS.findall(path.read_text()):
            texts = re.sub(r"\[.*\]|, \w+=\w+", "", given).split(",")
            bases.setdefault(name, set()).update(text.strip() for text in texts if text.strip())
    interfaces = {name for name, above in bases.items() if above & {"Protocol", "TypedDict"}}
    errors = {name for name, above in bases.items() if any(map(is_error, above))}
    assert len(bases) > 500
    assert interfaces
    for name, above in bases.items():
        concrete = {base for base in above - ABSTRACT - interfaces if not is_error(base)}
        assert concrete <= errors, f"{name} subclasses {concrete}"
