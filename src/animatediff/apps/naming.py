"""Names of outputs from a template such as ``{prompt}-{seed}``."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime

from animatediff.apps.destination import slug
from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest

DEFAULT = "{prompt}-{seed}-{hash}"
MAX_BYTES = 200
_PLACE = re.compile(r"\{([^{}]*)\}")


def check_template(template: str, *, option: str, lasting: bool = False) -> None:
    """Raise if a template cannot name files.

    Args:
        template: as for ``named``.
        option: what gave the template, for the message.
        lasting: the same request must have the same name at any time.

    Raises:
        InputError: it names an unknown field, another folder, or nothing.
    """
    if not template.strip() or re.search(r"[/\\\0]", template):
        raise InputError(f"{option} {template!r:.60} is not a file name; leave folders out of it.")
    known = [*(("number", "hash") if lasting else _FACTS), *_fields()]
    for word in _PLACE.findall(template):
        if word not in known:
            close = nearest(word, known)
            remedy = f"did you mean {{{close}}}?" if close else f"known are {', '.join(known)}."
            raise InputError(f"{option} has the unknown field {{{word}}}; {remedy}")


def named(template: str, request: AnimationRequest, *, number: int, key: str) -> str:
    """The file name, without a suffix, that a template gives a request.

    Args:
        template: text with fields in braces: ``number``, ``hash``, ``date``, ``time`` (both UTC), or
            a field or option of the request.
        request: its values replace the fields.
        number: the request's place in its file, from 1.
        key: the request's hash.
    """
    now = datetime.now(UTC)
    facts = {
        "number": f"{number:04d}",
        "hash": key[:8],
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H%M%S}",
    }

    def fill(match: re.Match[str]) -> str:
        word = match[1]
        if word in facts:
            return facts[word]
        value = getattr(request, _fields()[word])
        if word == "prompt":
            value = request.prompt or next(iter(request.prompts.values()), "")
        if isinstance(value, tuple):
            value = " ".join(map(str, value))
        return slug(str(value)) if isinstance(value, str) else str(value)

    name = _PLACE.sub(fill, template).strip(" .") or "animation"
    return name.encode()[:MAX_BYTES].decode(errors="ignore")


def hash_of(request: AnimationRequest) -> str:
    """A hash of everything that a request says; equal requests have equal hashes.

    Fields with their default do not count, so that a new field leaves old hashes as they are.
    """
    plain = AnimationRequest("").as_table()
    told = {field: value for field, value in request.as_table().items() if value != plain[field]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


_FACTS = ("number", "hash", "date", "time")


def _fields() -> dict[str, str]:
    """Fields by the words that name them in a template."""
    rows = declared(AnimationRequest)
    named_by_option = {row.option.name: row.field for row in rows if row.option.name}
    return {**named_by_option, **{row.field: row.field for row in rows}}
