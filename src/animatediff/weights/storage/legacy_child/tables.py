"""Find the table of tensors among the other things that a trainer saved."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from animatediff.weights.storage.legacy_child.described import Inert, Refused, TensorRef, shown

MAX_TENSORS = 50_000
MAX_DEPTH = 12
MAX_NODES = 200_000


WRAPPERS = (
    *("state_dict", "controlnet", "model_state_dict", "params_ema", "params", "model", "module"),
    *("ema_state_dict", "ema", "unet"),
)
"""Names that trainers give to the table of tensors, the most specific first."""
NOT_WEIGHTS = ("optimizer", "lr_scheduler", "callbacks", "loops", "scaler", "grad_scaler")


@dataclass(frozen=True)
class Found:
    """The useful content of a pickle.

    Attributes:
        tensors: by name.
        texts: small plain entries beside them, such as a name or a step.
        dropped: names of entries that are not tensors.
    """

    tensors: Mapping[str, TensorRef]
    texts: Mapping[str, str]
    dropped: Sequence[str]


def find_tensors(root: Any) -> Found:
    """Find the table of tensors inside the tables saved around it."""
    if isinstance(root, TensorRef):
        raise Refused("contains a single tensor without a name, and no table of weights")
    if not isinstance(root, dict):
        what = f"an object of {shown(root.name)}" if isinstance(root, Inert) else "no table"
        raise Refused(f"contains {what}, not a table of weights; only tensors can be used")
    table: dict[Any, Any] = root
    for _ in range(MAX_DEPTH):
        inner = wrapped_table(table)
        if inner is None:
            break
        table = inner
    tensors: dict[str, TensorRef] = {}
    dropped: list[str] = []
    collect(table, prefix="", tensors=tensors, dropped=dropped, depth=0)
    if not tensors:
        raise Refused("holds no tensors")
    return Found(tensors, texts_of(root), dropped)


def wrapped_table(table: Mapping[Any, Any]) -> dict[Any, Any] | None:
    """Return the table of tensors below one of the usual names, if there is one."""
    for word in WRAPPERS:
        inner = table.get(word)
        if isinstance(inner, dict) and any(holds_tensor(value) for value in inner.values()):
            plain = sum(isinstance(value, TensorRef) for value in table.values())
            if not plain or word in WRAPPERS[:2]:
                return inner
    return None


def collect(
    table: Mapping[Any, Any],
    *,
    prefix: str,
    tensors: dict[str, TensorRef],
    dropped: list[str],
    depth: int,
) -> None:
    """Return all tensors of a table and its nested tables, by dotted path."""
    if depth > MAX_DEPTH:
        raise Refused("nests its tables deeper than any weights")
    for key, value in table.items():
        name = f"{prefix}{key}" if isinstance(key, (str, int)) else None
        if isinstance(value, TensorRef) and name is not None:
            if name in tensors:
                raise Refused(f"has two tensors named {shown(name)}")
            if len(tensors) >= MAX_TENSORS:
                raise Refused(f"contains more than {MAX_TENSORS} tensors")
            tensors[name] = value
        elif isinstance(value, dict) and name is not None and is_weights(name):
            inner = f"{name}."
            collect(value, prefix=inner, tensors=tensors, dropped=dropped, depth=depth + 1)
        elif isinstance(value, Inert) and is_weights(name) and holds_tensor(value):
            raise Refused(
                f"has a tensor that depends on {shown(value.name)}, which is not run; "
                f"it is in {shown(name or 'an entry without a name')}"
            )
        elif len(dropped) < MAX_TENSORS:
            dropped.append(name or "an entry without a name")


def is_weights(name: str | None) -> bool:
    """Return whether an entry is not one of a trainer's private entries."""
    return name is None or not name.startswith(NOT_WEIGHTS)


def holds_tensor(value: Any) -> bool:
    """Return whether there is a tensor somewhere below, up to a limited depth."""
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < MAX_NODES:
        here = waiting.pop()
        if isinstance(here, TensorRef):
            return True
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, Inert):
            waiting.extend(here.parts)
        elif isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)
    return False


def texts_of(table: Mapping[Any, Any]) -> dict[str, str]:
    """Return the small plain entries at the top: a name, a step, a configuration."""
    texts: dict[str, str] = {}
    for key, value in itertools.islice(table.items(), 1000):
        if isinstance(key, str) and len(key) <= 100 and len(texts) < 32:
            plain = as_plain(value, budget=[200], depth=0)
            if plain is not NOTHING:
                text = plain if isinstance(plain, str) else json.dumps(plain)
                if len(text) <= 4096 and is_text(key) and is_text(text):
                    texts[key] = text
    return texts


NOTHING = object()


def as_plain(value: Any, *, budget: list[int], depth: int) -> Any:
    """Return the value, if it is small and contains only numbers, texts, lists and tables."""
    budget[0] -= 1
    if budget[0] < 0 or depth > 6:
        return NOTHING
    if isinstance(value, (str, bool, int, float, type(None))):
        # Converting a number to text takes time quadratic in its digits.
        huge = isinstance(value, int) and value.bit_length() > 64
        return NOTHING if huge or (value is None and not depth) else value
    if isinstance(value, (list, tuple)):
        items = [as_plain(item, budget=budget, depth=depth + 1) for item in value[:200]]
        return NOTHING if any(item is NOTHING for item in items) or not depth else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        table = {
            key: as_plain(item, budget=budget, depth=depth + 1)
            for key, item in itertools.islice(value.items(), 200)
        }
        return NOTHING if any(item is NOTHING for item in table.values()) else table
    return NOTHING


def is_text(text: str) -> bool:
    """Return whether the text can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
