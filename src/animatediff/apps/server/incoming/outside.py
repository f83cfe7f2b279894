"""Requests from outside: JSON of a stranger to an ``AnimationRequest`` that names and never points.

Files of weights are named as the server lists them; inputs are hashes of uploads. A text field that
nobody classified here is refused, so that a new option is closed until it was thought of.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import secrets
import threading
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from animatediff.apps.server.answers.problems import FieldError, Refused
from animatediff.apps.server.formats import FORMATS, SYNONYMS
from animatediff.apps.server.queue.store import is_hash
from animatediff.config import nearest
from animatediff.errors import FileError, InputError
from animatediff.options.checks import check_field
from animatediff.options.declaration import Declared, declared
from animatediff.sampling.camera.moves import is_moves
from animatediff.sampling.regions.areas import area_of
from animatediff.sampling.request import AnimationRequest, parse_lora
from animatediff.weights.finding.builtin import list_models
from animatediff.weights.finding.catalog import catalog
from animatediff.weights.finding.folders import SUFFIXES, list_found
from animatediff.weights.roles import ROLES, Role, RoleName, usable_roles

MOST_PRIORITY = 100
AV1_SIDE = 64
"""The least side, in pixels, that the AV1 encoder takes."""
LISTING_SECONDS = 5.0
RANDOM_SEED = -1
MOST_NUMBER = 1 << 65
"""A larger whole number has no float, and no field takes one."""

Takes = Literal[
    "text", "prompt", "moves", "upload", "upload@frame", "mask", "prompt@mask", "refused"
]
FOLLOW_UPLOADS = ("upload", "upload@frame", "mask", "prompt@mask")
"""What a field takes if it may name uploads."""

TEXTS: Mapping[str, Takes] = {
    "prompt": "prompt",
    "negative_prompt": "prompt",
    "prompts": "prompt",
    "family": "text",
    "fps": "text",
    "control_preprocess": "text",
    "control_types": "text",
    "control_ranges": "text",
    "control_strengths": "text",
    "control_weights": "text",
    "control_modes": "text",
    "control_inputs": "upload",
    "control_masks": "upload",
    "sparse": "upload@frame",
    "init": "upload",
    "init_prompt": "prompt",
    "ip_images": "upload@frame",
    "ip_strengths": "text",
    "ip_weights": "text",
    "ip_ranges": "text",
    "ip_masks": "upload",
    "negative_prompts": "prompt",
    "regions": "prompt@mask",
    "action": "text",
    "motion_scale": "text",
    "motion_effect": "text",
    "motion_scale_mask": "mask",
    "motion_effect_mask": "mask",
    "image": "upload",
    "camera_path": "moves",
    "object_paths": "text",
    "window_changes": "text",
}
"""What each text field is, beside those that name weights; any other is refused."""
ELSEWHERE: Mapping[str, str] = {
    "size": "send width and height.",
    "format": 'send formats beside the request, such as "formats": ["mp4"].',
    "formats": 'send formats beside the request, such as "formats": ["mp4"].',
    "priority": "send priority beside the request.",
    "output": "the server keeps results; download them from the url of each result.",
    "name": "the server names results; the name of each result is in the job.",
    "loop_count": "files of a server play forever; leave it out.",
    "preview": "a running job has a contact sheet at /api/v1/jobs/{id}/preview.",
    "progress": "follow a job at /api/v1/jobs/{id}/events.",
    "keyframe": 'send keyframes as a table, such as "prompts": {"0": "a fox", "8": "a hare"}.',
    "negative_keyframe": "send keyframes as a table in negative_prompts.",
    "config": "send the fields themselves; files of options are not read.",
    "save_config": "every job lists its request; no file of options is written.",
    "device": "the server decides where a job runs; see animatediff serve --help.",
    "threads": "the server decides how a job runs; see animatediff serve --help.",
    "compile": "the server decides how a job runs; see animatediff serve --help.",
    "memory": "the server decides how a job runs; see animatediff serve --help.",
}
"""What to do instead of each option of the command line that is no field of a request."""
NO_UPLOAD = "none"
"""Instead of an upload, where a field may go without."""
_RATE = re.compile(r"\d{1,6}(\.\d{1,9})?(/\d{1,9})?")
_UPLOAD = re.compile(r"(\d{1,2}=)?([0-9a-f]{64})(@\s*-?\d{1,6})?")
"""A hash, perhaps of the Nth network (``2=HASH``), perhaps for one frame (``HASH@0``)."""


@dataclass(frozen=True)
class Model:
    """A model that a request from outside may name.

    Attributes:
        role: what it is for.
        field: the field of a request that takes it.
        name: as a request names it.
        about: a few words; empty if nothing is known.
    """

    role: RoleName
    field: str
    name: str
    about: str


class Names:
    """Which models may be named, looked up in the model folders every few seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed: tuple[Model, ...] = ()
        self._at = -math.inf

    def all(self) -> tuple[Model, ...]:
        """Every model of every role that an option takes.

        A list that is some seconds old is answered while a thread looks again, as model folders may be
        large and on slow disks.
        """
        with self._lock:
            if not self._listed:
                self._listed = tuple(_listed())
                self._at = time.monotonic()
            elif time.monotonic() - self._at > LISTING_SECONDS:
                self._at = time.monotonic()
                threading.Thread(target=self._look_again, name="models", daemon=True).start()
            return self._listed

    def _look_again(self) -> None:
        with contextlib.suppress(
            FileError, InputError
        ):  # as long as a folder is broken, the old list
            self._listed = tuple(_listed())

    def known(self, role: RoleName, name: str) -> bool:
        """Whether a name stands for a model of that role."""
        wanted = _plain(name)
        names = [_plain(model.name) for model in self.all() if model.role == role]
        return wanted in names or sum(known.rpartition("/")[2] == wanted for known in names) == 1

    def sentence(self, role: Role, name: str) -> str:
        """Why a name was refused."""
        if _looks_like_a_place(name):
            return (
                f"{name!r:.80} looks like a path or an address; a request names a {role.title} as "
                "GET /api/v1/models lists it."
            )
        close = nearest(name, [model.name for model in self.all() if model.role == role.name])
        remedy = f"did you mean {close}?" if close else "GET /api/v1/models lists those there are."
        return f"There is no {role.title} {name!r:.80}; {remedy}"


def _listed() -> list[Model]:
    models: dict[tuple[str, str], Model] = {}

    def add(role: Role, name: str, about: str) -> None:
        models.setdefault((role.name, name), Model(role.name, role.field, name, about))

    for built_in in list_models():
        add(ROLES[built_in.kind], built_in.name, built_in.about)
    for role in usable_roles():
        for found in list_found(role.name):
            add(role, found.name, "")
    for name, published in catalog().items():
        if ROLES[published.role].field and published.path.is_file():
            add(ROLES[published.role], name, published.about)
    return list(models.values())


def _plain(name: str) -> str:
    name = name.strip().lower()
    return next((name[: -len(end)] for end in SUFFIXES if name.endswith(end)), name)


def _looks_like_a_place(name: str) -> bool:
    return (
        "://" in name
        or ".." in name
        or "\\" in name
        or name.startswith(("/", "~", "."))
        or re.match(r"[A-Za-z]:", name) is not None
    )


def is_finite(value: float) -> bool:
    """Whether a number of JSON, which may have any number of digits, is one that a field can take."""
    return math.isfinite(value) if isinstance(value, float) else abs(value) < MOST_NUMBER


def takes(row: Declared) -> str:
    """What a field takes over the network: ``text``, ``prompt``, ``name:ROLE``, ``upload``, ...

    Numbers, switches and choices take only themselves, and are ``text`` too.
    """
    role = next((role for role in usable_roles() if role.field == row.field), None)
    if role is not None:
        return f"name:{role.name}"
    if row.field in TEXTS:
        return TEXTS[row.field]
    numbers = row.is_list and str not in typing.get_args(row.annotation)
    plain = row.choices or row.annotation in (bool, int, float) or numbers
    return "text" if plain else "refused"


class GivenTwice(ValueError):
    """An object of JSON gives a name twice, of which one value would be silently unused."""


def value_of(text: str) -> Any:
    """The value of a text in JSON.

    Raises:
        GivenTwice: an object gives a name twice.
        ValueError: it is not JSON, nested too deeply, holds numbers that are not finite, or escapes
            halves of surrogate pairs, which no answer could repeat in UTF-8.
    """

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number of JSON")

    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, each in pairs:
            if name in table:
                raise GivenTwice(name)
            table[name] = each
        return table

    try:
        value = json.loads(text, parse_constant=no_constant, object_pairs_hook=each_once)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None
    return value


def parse_json(body: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        Refused: it is not JSON, gives a name twice, or holds numbers that are not finite or text that
            is not Unicode.
    """
    try:
        return value_of(body.decode("utf-8"))
    except GivenTwice as error:
        raise Refused(
            400, f"The body gives {str(error)!r:.60} twice; give each name once."
        ) from None
    except ValueError:
        raise Refused(400, "The body is not JSON in UTF-8; send one JSON object.") from None


def parse_object(body: bytes, *, known: Sequence[str] = ()) -> dict[str, Any]:
    """The object of a JSON body.

    Args:
        body: the bytes.
        known: the only keys that it may have; any if empty.

    Raises:
        Refused: it is not an object, or has an unknown key.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise Refused(422, "The body is not a JSON object; send one in braces.")
    for key in value:
        if known and key not in known:
            close = nearest(key, known)
            remedy = f"did you mean {close}?" if close else f"known are {', '.join(known)}."
            detail = f"The key {key!r:.60} is unknown; {remedy}"
            raise Refused(422, detail, errors=[FieldError(str(key)[:60], detail)])
    return value


def read_request(
    table: object, *, names: Names, has_upload: Callable[[str], bool], at: str = "request"
) -> AnimationRequest:
    """The request that a table from outside asks for.

    Args:
        table: of JSON.
        names: the models that may be named.
        has_upload: whether there is an upload of that hash.
        at: where the table is in the body, for the paths of errors.

    Raises:
        Refused: a field cannot be used; every such field is listed.
    """
    if not isinstance(table, dict):
        detail = "The request is not a JSON object; send its fields in braces."
        raise Refused(422, detail, errors=[FieldError(at, detail)])
    rows = {row.field: row for row in declared(AnimationRequest)}
    errors: list[FieldError] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        row = rows.get(key)
        if row is None:
            errors.append(FieldError(f"{at}.{key}"[:80], _unknown(str(key), rows)))
            continue
        try:
            values[key] = _value(row, value)
            _check_places(row, values[key], names=names, has_upload=has_upload)
        except InputError as error:
            errors.append(FieldError(f"{at}.{key}", str(error)))
    if "prompt" not in values and "prompt" not in table:
        values["prompt"] = ""
    if errors:
        raise _refused(errors)
    try:
        request = AnimationRequest(**values).validated()
        for style in request.styles:
            _check_name(ROLES["lora"], parse_lora(style)[0], names)
    except InputError as error:
        text = str(error)
        field = next((name for name in rows if re.search(rf"\b{re.escape(name)}\b", text)), "")
        raise _refused([FieldError(f"{at}.{field}" if field else at, text)]) from None
    if not request.prompt.strip() and not request.prompts:
        raise _refused([FieldError(f"{at}.prompt", "There is no prompt; say what to draw.")])
    return request


def _unknown(key: str, rows: Mapping[str, Declared]) -> str:
    """Why a field that no request has was refused, in a sentence with the field to use instead."""
    word = key.lstrip("-").replace("-", "_")
    if word in ELSEWHERE:
        return f"{word} is no field of a request; {ELSEWHERE[word]}"
    by_flag = {
        flag.lstrip("-").replace("-", "_"): field
        for field, row in rows.items()
        for flag in (*row.option.foreign, row.flag)
    }
    close = by_flag.get(word) or (word if word in rows else nearest(key, rows))
    remedy = f"did you mean {close}?" if close else "GET /api/v1/options lists the fields."
    return f"The field {key!r:.60} is unknown; {remedy}"


def _refused(errors: Sequence[FieldError]) -> Refused:
    first = errors[0].detail
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refused(422, f"{first}{more}", errors=errors)


def _value(row: Declared, value: Any) -> Any:
    """A field's value as the request has it.

    Raises:
        InputError: it is of another type or out of range.
    """
    if row.field == "seed" and value == RANDOM_SEED and not isinstance(value, bool):
        return secrets.randbits(32)
    if row.field == "fps" and not (value is None and row.nullable):
        return _rate(value)
    if row.is_list and isinstance(value, list):
        value = tuple(typing.cast("list[Any]", value))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int) and abs(number) >= MOST_NUMBER:
            raise InputError(f"{row.field} is a number of too many digits; choose a smaller one.")
    if row.annotation is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    check_field(row, value)
    if isinstance(value, Mapping):
        pairs = typing.cast("Mapping[Any, Any]", value)
        if not all(isinstance(text, str) for text in pairs.values()):
            raise InputError(f"{row.field} has values that are not text; write texts in quotes.")
        if len(pairs) > 1024:
            raise InputError(f"{row.field} has {len(pairs)} entries; at most 1024 are allowed.")
    return value


def _rate(value: Any) -> Any:
    """A frame rate; a text with an exponent could be a number of a billion digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"fps = {value!r:.40} is not a number; write one such as 8.")
    if isinstance(value, str) and not _RATE.fullmatch(value.strip()):
        raise InputError(f"fps = {value!r:.40} is not a number; write one such as 8 or 24000/1001.")
    if isinstance(value, int | float) and not 0 < value < 1e6:
        raise InputError(f"fps = {value!r:.40} is out of range; choose 0.1 to 120.")
    return value


def _check_places(
    row: Declared, value: Any, *, names: Names, has_upload: Callable[[str], bool]
) -> None:
    """Refuse what is no name or no upload, where a field takes one.

    Raises:
        InputError: it is not.
    """
    kind = takes(row)
    given = value if isinstance(value, tuple) else (value,)
    if kind == "refused":
        if value not in (row.default, None, "", ()):
            raise InputError(f"{row.field} cannot be set over the network; leave it out.")
    elif kind == "moves":
        if value and not is_moves(str(value)):
            raise InputError(
                f"{row.field} = {value!r:.80} is no camera move; over the network files of poses "
                "cannot be named, so write one such as zoom-in:1.5."
            )
    elif kind.startswith("name:"):
        role = ROLES[typing.cast("RoleName", kind.removeprefix("name:"))]
        for text in given:
            if text:
                name = parse_lora(text, what=role.title)[0] if role.scaled else text
                _check_name(role, name, names)
    elif kind in FOLLOW_UPLOADS:
        for text in given:
            place = _place_in(kind, text)[1]
            if place:
                _check_upload(place, has_upload, may_have_frame=kind == "upload@frame")


def _check_name(role: Role, name: str, names: Names) -> None:
    if name != role.nothing and not names.known(role.name, name):
        raise InputError(names.sentence(role, name))


def _check_upload(text: str, has_upload: Callable[[str], bool], *, may_have_frame: bool) -> None:
    match = _UPLOAD.fullmatch(text)
    if match is None or not (may_have_frame or is_hash(text)):
        raise InputError(
            f"{text!r:.80} is not the hash of an upload; POST the file to /api/v1/uploads first."
        )
    if not has_upload(match[2]):
        raise InputError(
            f"There is no upload {match[2][:12]}…; POST the file to /api/v1/uploads first."
        )


def uploads_of(request: AnimationRequest) -> tuple[str, ...]:
    """The hashes of the uploads that a request from outside follows."""
    found: dict[str, None] = {}
    for row in declared(AnimationRequest):
        if takes(row) in FOLLOW_UPLOADS:
            value = getattr(request, row.field)
            for text in value if isinstance(value, tuple) else (value,):
                match = _UPLOAD.fullmatch(_place_in(takes(row), str(text))[1])
                if match is not None:
                    found[match[2]] = None
    return tuple(found)


def with_paths(table: Mapping[str, Any], path_of: Callable[[str], str]) -> dict[str, Any]:
    """A stored request's table in which hashes of uploads are paths, for the worker.

    Raises:
        FileError: an upload is missing.
    """
    found = dict(table)
    for row in declared(AnimationRequest):
        if takes(row) in FOLLOW_UPLOADS and found.get(row.field):
            value = found[row.field]
            given = value if isinstance(value, list | tuple) else [value]
            paths = [_with_path(takes(row), str(text), path_of) for text in given]
            found[row.field] = paths if isinstance(value, list | tuple) else paths[0]
    return found


def _place_in(kind: str, text: str) -> tuple[str, str]:
    """What stands before the upload in a value, and the upload; that is empty if there is none.

    Raises:
        InputError: an area is written wrongly.
    """
    if kind == "prompt@mask":
        prompt, sign, mask = text.rpartition("@")
        return f"{prompt}{sign}", _place_in("mask", mask.strip())[1]
    nowhere = text in ("", NO_UPLOAD) or (kind == "mask" and area_of(text) is not None)
    return "", "" if nowhere else text


def _with_path(kind: str, text: str, path_of: Callable[[str], str]) -> str:
    before, place = _place_in(kind, text)
    if not place:
        return text
    match = _UPLOAD.fullmatch(place)
    if match is None:
        raise FileError(f"{text!r:.80} is not the hash of an upload.")
    return f"{before}{match[1] or ''}{path_of(match[2])}{match[3] or ''}"


def read_formats(value: object, *, request: AnimationRequest | None = None) -> tuple[str, ...]:
    """The formats of an order.

    Args:
        value: a name, or a list of names.
        request: what is ordered, if a format may be unable to hold frames of its size.

    Raises:
        Refused: one is unknown, one cannot hold the frames, or there is none.
    """
    given = typing.cast("list[Any]", value) if isinstance(value, list) else [value]
    found: dict[str, None] = {}
    for name in given:
        plain = SYNONYMS.get(name, name) if isinstance(name, str) else ""
        if plain not in FORMATS:
            detail = f"formats = {name!r:.40} is unknown; it is one of {', '.join(FORMATS)}."
            raise Refused(422, detail, errors=[FieldError("formats", detail)])
        found[plain] = None
    if not found:
        detail = f"There is no format; name one of {', '.join(FORMATS)}."
        raise Refused(422, detail, errors=[FieldError("formats", detail)])
    sides = (request.width, request.height) if request else ()
    if "av1" in found and any(side and side < AV1_SIDE for side in sides):
        detail = (
            f"formats has av1, which needs frames of at least {AV1_SIDE} pixels a side; order mp4 or "
            "a larger size."
        )
        raise Refused(422, detail, errors=[FieldError("formats", detail)])
    return tuple(found)


def read_priority(value: object) -> int:
    """The priority of an order.

    Raises:
        Refused: it is not a whole number from -100 to 100.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST_PRIORITY:
        detail = f"priority = {value!r:.40} is not a whole number from -100 to 100."
        raise Refused(422, detail, errors=[FieldError("priority", detail)])
    return value
