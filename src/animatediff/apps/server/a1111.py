"""AUTOMATIC1111's words for settings, and those of sd-webui-animatediff, as fields of a request.

Written from their documentation: names, orders and defaults of arguments are facts of those programs.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from animatediff.apps.server.problems import FieldError, Refused
from animatediff.errors import InputError
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.sampler_names import SCHEDULER_NAMES, scheduler_named
from animatediff.sampling.text.travel_files import read_travel
from animatediff.weights.roles import NO_MOTION

AT = "alwayson_scripts.AnimateDiff.args"
MOST_PICTURES = 16
MAX_INFOTEXT = 1 << 20
MAX_SETTINGS_LINE = 50_000

ARGUMENTS: tuple[tuple[str, Any], ...] = (
    ("model", ""),
    ("enable", False),
    ("video_length", 0),
    ("fps", 8),
    ("loop_number", 0),
    ("closed_loop", "R-P"),
    ("batch_size", 16),
    ("stride", 1),
    ("overlap", -1),
    ("format", ("GIF", "PNG")),
    ("interp", "Off"),
    ("interp_x", 10),
    ("video_source", None),
    ("video_path", ""),
    ("mask_path", ""),
    ("freeinit_enable", False),
    ("freeinit_filter", "butterworth"),
    ("freeinit_ds", 0.25),
    ("freeinit_dt", 0.25),
    ("freeinit_iters", 3),
    ("latent_power", 1),
    ("latent_scale", 32),
    ("last_frame", None),
    ("latent_power_last", 1),
    ("latent_scale_last", 32),
)
"""The arguments of AnimateDiff there, in their order: twenty for txt2img, all for img2img."""
TEXT_ARGUMENTS = 20
REQUEST_ID = "request_id"

_AUTOMATIC: Mapping[str, str] = {
    "dpm++ 2m": "dpm++2m-karras",
    "dpm++ 2m automatic": "dpm++2m-karras",
    "k_dpmpp_2m_ka": "dpm++2m-karras",
}
"""Samplers whose noise levels A1111 spaces in its own way unless it is given one."""
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "ddim": ("ddim",),
    "euler": ("k_euler",),
    "euler-a": ("k_euler_a", "k_euler_ancestral"),
    "dpm++2m-karras": ("k_dpmpp_2m_ka",),
    "unipc": ("unipc",),
}
LISTED_SAMPLERS: Mapping[str, tuple[str, ...]] = {
    f"{kind.label} {kind.spread}".strip(): _ALIASES.get(name, ()) for name, kind in SAMPLERS.items()
}
"""Every sampler as A1111 names it, with its further names there."""
FORMATS: Mapping[str, str] = {
    "GIF": "gif",
    "MP4": "mp4",
    "WEBP": "webp",
    "WEBM": "webm",
    "PNG": "png",
    "Frame": "png",
}

_UNSUPPORTED: tuple[tuple[str, Any, str], ...] = (
    ("enable_hr", False, "There is no second pass at a higher size here; leave it out."),
    ("restore_faces", False, "Faces are not restored here; leave it out."),
    ("tiling", False, "Tiles are not drawn here; leave it out."),
    ("subseed_strength", 0, "There is no variation seed; leave it out."),
    ("script_name", "", "Scripts are not run here; only AnimateDiff is known."),
    ("mask", None, "There is no inpainting over this API; leave the mask out."),
    ("refiner_checkpoint", "", "There is no refiner; leave it out."),
)


@dataclass
class Translated:
    """Settings of A1111 as fields of a request, as they are found.

    Attributes:
        fields: of the request.
        formats: of the result.
        notes: what is done otherwise than there, a sentence each.
        enabled: whether it is an animation, and not a picture.
        request_id: to send back.
    """

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    formats: list[str] = field(default_factory=lambda: ["png"])
    notes: list[str] = field(default_factory=list[str])
    enabled: bool = False
    request_id: str = ""


def translate(payload: Mapping[str, Any]) -> Translated:
    """The request of a body of ``txt2img`` or ``img2img``, without pictures.

    Raises:
        Refused: something is asked for that is not done here; the sentence says what to leave out.
    """
    _refuse_unsupported(payload)
    found = Translated()
    fields = found.fields
    fields["prompt"] = _text(payload, "prompt")
    fields["negative_prompt"] = _text(payload, "negative_prompt")
    fields["seed"] = _number(payload, "seed", -1, whole=True)
    fields["steps"] = _number(payload, "steps", 50, whole=True)
    fields["guidance"] = float(_number(payload, "cfg_scale", 7.0))
    fields["width"] = _number(payload, "width", 512, whole=True)
    fields["height"] = _number(payload, "height", 512, whole=True)
    sampler = payload.get("sampler_name") or payload.get("sampler_index") or "Euler"
    fields["scheduler"] = sampler_of(sampler)
    _override(payload.get("override_settings"), fields)
    arguments = animatediff_arguments(payload.get("alwayson_scripts"))
    if arguments is not None and arguments["enable"]:
        found.enabled = True
        _animate(arguments, found)
    else:
        fields["num_frames"] = 1
        fields["motion"] = NO_MOTION
    return found


def _refuse_unsupported(payload: Mapping[str, Any]) -> None:
    errors = [
        FieldError(name, sentence)
        for name, plain, sentence in _UNSUPPORTED
        if payload.get(name) not in (None, plain, "", False)
    ]
    if payload.get("styles"):
        errors.append(FieldError("styles", "There are no styles here; write them into the prompt."))
    if errors:
        raise Refused(422, f"{errors[0].field}: {errors[0].detail}", errors=errors)


def count_of(payload: Mapping[str, Any]) -> int:
    """How many animations or pictures a body asks for: batches times their size.

    Raises:
        Refused: they are too many.
    """
    batches = _number(payload, "n_iter", 1, whole=True)
    size = _number(payload, "batch_size", 1, whole=True)
    count = max(1, batches) * max(1, size)
    if count > MOST_PICTURES:
        raise _bad("n_iter", f"n_iter x batch_size = {count}; at most {MOST_PICTURES} are made.")
    return count


def animatediff_arguments(scripts: Any) -> dict[str, Any] | None:
    """The arguments of AnimateDiff among scripts, by name; ``None`` if it is not among them.

    Raises:
        Refused: another script is asked for, or the arguments are neither a table nor 20 or 25.
    """
    if scripts in (None, {}, []):
        return None
    if not isinstance(scripts, dict):
        raise _bad("alwayson_scripts", "alwayson_scripts is not a table of scripts.")
    found: dict[str, Any] | None = None
    for name, script in typing.cast("dict[str, Any]", scripts).items():
        if name.lower() != "animatediff":
            raise _bad(
                f"alwayson_scripts.{name[:40]}",
                f"The script {name!r:.40} is not known here; only AnimateDiff is.",
            )
        arguments = script.get("args", []) if isinstance(script, dict) else script
        found = _named(arguments)
    return found


def _named(arguments: Any) -> dict[str, Any]:
    defaults = dict(ARGUMENTS)
    if isinstance(arguments, list):
        listed = typing.cast("list[Any]", arguments)
        if len(listed) == 1 and isinstance(listed[0], dict):
            arguments = listed[0]
        elif not listed:
            return defaults
        elif len(listed) in (TEXT_ARGUMENTS, len(ARGUMENTS)):
            names = [name for name, _ in ARGUMENTS]
            return {**defaults, **dict(zip(names, listed, strict=False))}
        else:
            raise _bad(
                AT,
                f"{len(listed)} arguments were given; AnimateDiff takes a table, {TEXT_ARGUMENTS} "
                f"values, or {len(ARGUMENTS)} for img2img.",
            )
    if not isinstance(arguments, dict):
        raise _bad(AT, "The arguments are neither a table nor a list.")
    given = typing.cast("dict[str, Any]", arguments)
    unknown = [name for name in given if name not in defaults and name != REQUEST_ID]
    if unknown:
        raise _bad(f"{AT}.{unknown[0][:40]}", f"AnimateDiff has no argument {unknown[0]!r:.40}.")
    return {**defaults, **given}


def _animate(arguments: Mapping[str, Any], found: Translated) -> None:
    """Add what AnimateDiff's arguments say."""
    fields = found.fields
    for name in ("video_path", "mask_path", "video_source", "last_frame"):
        if arguments[name]:
            raise _bad(
                f"{AT}.{name}",
                f"{name} cannot be given over the network; send a picture to img2img, or use "
                "/api/v1/uploads and /api/v1/jobs.",
            )
    found.request_id = str(arguments.get(REQUEST_ID) or "")[:200]
    model = _of_type(arguments, "model", str)
    if model:
        fields["motion"] = model
    length = _of_type(arguments, "video_length", int)
    window = _of_type(arguments, "batch_size", int)
    fields["num_frames"] = frames = length or window
    fields["fps"] = _of_type(arguments, "fps", int)
    if frames > window >= 2:
        fields["window_length"] = window
        fields["window_schedule"] = "uniform"
        fields["window_stride"] = _of_type(arguments, "stride", int)
        overlap = _of_type(arguments, "overlap", int)
        if overlap >= 0:
            fields["window_overlap"] = overlap
    _travel(fields)
    _close_loop(_of_type(arguments, "closed_loop", str), found)
    if arguments["interp"] not in ("Off", "", None):
        fields["interpolate"] = _of_type(arguments, "interp_x", int)
        found.notes.append("Frames are interpolated by optical flow, not by FILM.")
    if arguments["freeinit_enable"]:
        fields["free_init"] = _of_type(arguments, "freeinit_iters", int)
        plain = (arguments["freeinit_filter"], arguments["freeinit_ds"], arguments["freeinit_dt"])
        if plain != ("butterworth", 0.25, 0.25):
            found.notes.append("FreeInit uses its own filter: butterworth, 0.25 and 0.25.")
    if arguments["loop_number"]:
        found.notes.append("Files play without end, whatever loop_number says.")
    names = arguments["format"]
    names = [names] if isinstance(names, str) else list(names or ())
    unknown = [name for name in names if name not in FORMATS and name != "TXT"]
    if unknown:
        raise _bad(f"{AT}.format", f"The format {unknown[0]!r:.40} is not known here.")
    # PNG there means frames that the server keeps; only Frame sends them.
    sent = [FORMATS[name] for name in names if name not in ("TXT", "PNG")]
    found.formats = list(dict.fromkeys(sent)) or ["png"]


def _travel(fields: dict[str, Any]) -> None:
    """Keyframes in the prompt, as lines that begin with a frame."""
    prompt = fields["prompt"]
    if not re.search(r"^\s*\d+\s*:", prompt, flags=re.MULTILINE):
        return
    try:
        fields["prompts"] = dict(read_travel(prompt).prompts)
    except InputError as error:
        raise _bad("prompt", str(error)) from None
    fields["prompt"] = ""


def _close_loop(closed: str, found: Translated) -> None:
    match closed:
        case "A":
            found.fields["loop"] = True
        case "R+P":
            if found.fields.get("prompts"):
                found.fields["closed_loop"] = True
            found.notes.append("closed_loop R+P closes the prompt travel; A closes the animation.")
        case "N" | "R-P":
            pass
        case _:
            raise _bad(
                f"{AT}.closed_loop", f"closed_loop = {closed!r:.40} is not N, R-P, R+P or A."
            )


def _override(settings: Any, fields: dict[str, Any]) -> None:
    """What ``override_settings`` says of models."""
    if settings in (None, {}):
        return
    if not isinstance(settings, dict):
        raise _bad("override_settings", "override_settings is not a table.")
    for name, value in typing.cast("dict[str, Any]", settings).items():
        match name:
            case "sd_model_checkpoint":
                fields["model"] = plain_title(str(value))
            case "CLIP_stop_at_last_layers":
                fields["clip_skip"] = value
            case "sd_vae":
                if value not in ("Automatic", "None", ""):
                    fields["vae"] = plain_title(str(value))
            case _:
                raise _bad(f"override_settings.{name[:40]}", f"{name!r:.40} cannot be set here.")


def plain_title(title: str) -> str:
    """The name in a title such as ``fox.safetensors [0123456789]``."""
    return re.sub(r"\s*\[[0-9a-fA-F]{8,64}\]$", "", title.strip())


def sampler_of(name: object) -> str:
    """Our name of one of their samplers.

    Raises:
        Refused: it is not here.
    """
    typed = str(name).strip()
    try:
        found = _AUTOMATIC.get(typed.lower()) or scheduler_named(typed)
    except InputError as error:
        raise _bad("sampler_name", str(error)) from None
    if found not in SCHEDULER_NAMES:
        raise _bad(
            "sampler_name",
            f"The sampler {name!r:.40} is not here; it is one of {', '.join(LISTED_SAMPLERS)}.",
        )
    return found


# --- infotext -------------------------------------------------------------------------------------

_PAIR = re.compile(r'\s*([A-Za-z][\w /+-]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')


def settings_of(infotext: str) -> tuple[dict[str, str], str, str]:
    """The settings of an infotext by name, its prompt and its negative prompt."""
    text = infotext[:MAX_INFOTEXT].strip()
    *lines, last = text.split("\n")
    settings = _pairs(last)
    if len(settings) < 3:
        lines, settings = [*lines, last], {}
    negative = next(
        (i for i, line in enumerate(lines) if line.startswith("Negative prompt:")), None
    )
    if negative is None:
        return settings, "\n".join(lines).strip(), ""
    first = lines[negative].removeprefix("Negative prompt:")
    return (
        settings,
        "\n".join(lines[:negative]).strip(),
        "\n".join([first, *lines[negative + 1 :]]).strip(),
    )


def _pairs(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PAIR.finditer(line[:MAX_SETTINGS_LINE]):
        value = match[2].strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        found[match[1].strip()] = value
    return found


def request_of(infotext: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of a request that an infotext gives, and what it has no field for, in sentences."""
    settings, prompt, negative = settings_of(infotext)
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    notes: list[str] = []
    motion = dict(
        part.split(": ", 1) for part in settings.pop("AnimateDiff", "").split(", ") if ": " in part
    )
    schedule = settings.pop("Schedule type", "")
    for name, value in settings.items():
        match name:
            case "Steps" | "Seed" | "Clip skip":
                fields[name.lower().replace(" ", "_")] = _whole(value)
            case "CFG scale":
                fields["guidance"] = _real(value)
            case "Size":
                size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
                if size:
                    fields["width"], fields["height"] = int(size[1]), int(size[2])
            case "Sampler":
                try:
                    fields["scheduler"] = sampler_of(f"{value} {schedule}")
                except Refused:
                    notes.append(f"The sampler {value!r:.60} is not here; the default is used.")
            case "Model":
                fields["model"] = value
            case "VAE":
                fields["vae"] = value
            case "Model hash" | "VAE hash" | "Version" | "Lora hashes" | "TI hashes":
                pass
            case _:
                notes.append(f"{name!r:.60} has no setting here and is left out.")
    _motion_settings(motion, fields, notes)
    if motion:
        try:
            _travel(fields)
        except Refused as error:
            notes.append(error.detail)
    return {name: value for name, value in fields.items() if value not in (None, "")}, notes


def _motion_settings(motion: Mapping[str, str], fields: dict[str, Any], notes: list[str]) -> None:
    if not motion:
        return
    if motion.get("model"):
        fields["motion"] = motion["model"]
    fields["num_frames"] = _whole(motion.get("video_length", "")) or _whole(
        motion.get("batch_size", "")
    )
    fields["fps"] = _real(motion.get("fps", ""))
    if motion.get("closed_loop") == "A":
        fields["loop"] = True
    if motion.get("freeinit_enable") == "True":
        fields["free_init"] = _whole(motion.get("freeinit_iters", ""))
    if motion.get("interp", "Off") != "Off":
        fields["interpolate"] = _whole(motion.get("interp_x", ""))
        notes.append("Frames are interpolated by optical flow, not by FILM.")


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,20}", text.strip()) else None


def _real(text: str) -> float | int | None:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", text.strip()):
        return None
    value = float(text)
    return int(value) if value.is_integer() else value


# --- inside ---------------------------------------------------------------------------------------


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(name, f"{name} is not text.")
    return value


def _number(payload: Mapping[str, Any], name: str, default: Any, *, whole: bool = False) -> Any:
    value = payload.get(name)
    if value is None:
        return default
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _bad(name, f"{name} = {value!r:.40} is not a {'whole ' if whole else ''}number.")
    return value


def _of_type(arguments: Mapping[str, Any], name: str, kind: type) -> Any:
    value = arguments[name]
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, kind):
        what = "a whole number" if kind is int else "text"
        raise _bad(f"{AT}.{name}", f"{name} = {value!r:.40} is not {what}.")
    return value


def _bad(name: str, detail: str) -> Refused:
    return Refused(422, detail, errors=[FieldError(name, detail)])


def numbered(seed: int, count: int) -> Sequence[int]:
    """The seeds of several pictures, one after another as there."""
    return [(seed + number) % (1 << 64) for number in range(count)]
