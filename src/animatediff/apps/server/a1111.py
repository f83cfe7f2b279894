"""AUTOMATIC1111's words for settings, and those of sd-webui-animatediff, as fields of a request.

Written from their documentation: names, orders and defaults of arguments are facts of those programs.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from animatediff.apps.server.answers.problems import FieldError, Refused
from animatediff.apps.server.incoming.outside import is_finite
from animatediff.errors import InputError
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.sampler_names import SCHEDULER_NAMES, scheduler_named
from animatediff.sampling.text.travel_files import read_travel
from animatediff.weights.roles import NO_MOTION

AT = "alwayson_scripts.AnimateDiff.args"
MOST_PICTURES = 16

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
_KNOWN_FORMATS = (*FORMATS, "TXT")

_UNSUPPORTED: tuple[tuple[str, Any, str], ...] = (
    ("restore_faces", False, "Faces are not restored here; leave it out."),
    ("tiling", False, "Tiles are not drawn here; leave it out."),
    ("subseed_strength", 0, "There is no variation seed; leave it out."),
    ("seed_resize_from_h", -1, "Noise of another size is not drawn here; leave it out."),
    ("seed_resize_from_w", -1, "Noise of another size is not drawn here; leave it out."),
    ("script_name", "", "Scripts are not run here; only AnimateDiff is known."),
    ("mask", None, "There is no inpainting over this API; leave the mask out."),
    ("refiner_checkpoint", "", "There is no refiner; leave it out."),
    ("eta", None, "The noise of a sampler is its own here; leave it out."),
    ("s_churn", 0, "The noise of a sampler is its own here; leave it out."),
    ("s_tmin", 0, "The noise of a sampler is its own here; leave it out."),
    ("s_noise", 1, "The noise of a sampler is its own here; leave it out."),
    ("s_min_uncond", 0, "Every step is guided here; leave it out."),
    ("firstphase_width", 0, "The first pass has width and height; leave it out."),
    ("firstphase_height", 0, "The first pass has width and height; leave it out."),
    ("hr_resize_x", 0, "The second pass has a scale; send hr_scale instead."),
    ("hr_resize_y", 0, "The second pass has a scale; send hr_scale instead."),
    ("hr_second_pass_steps", 0, "Both passes have the same steps; leave it out."),
    ("hr_checkpoint_name", "Use same checkpoint", "Both passes use one model; leave it out."),
    ("hr_sampler_name", "Use same sampler", "Both passes use one sampler; leave it out."),
    ("hr_scheduler", "Use same scheduler", "Both passes use one sampler; leave it out."),
    ("hr_prompt", "", "Both passes have the same prompt; leave it out."),
    ("hr_negative_prompt", "", "Both passes have the same prompt; leave it out."),
)
"""What is refused if it is set to something else than A1111's default, and why."""
_READ = frozenset(
    "prompt negative_prompt seed steps cfg_scale width height sampler_name sampler_index scheduler "
    "override_settings alwayson_scripts n_iter batch_size styles denoising_strength init_images "
    "enable_hr hr_scale hr_upscaler send_images resize_mode".split()
)
_WITHOUT_MEANING = frozenset(
    "save_images do_not_save_samples do_not_save_grid override_settings_restore_afterwards subseed "
    "script_args s_tmax comments disable_extra_networks force_task_id infotext firstpass_image "
    "refiner_switch_at include_init_images image_cfg_scale initial_noise_multiplier latent_mask "
    "mask_blur mask_blur_x mask_blur_y mask_round inpainting_fill inpaint_full_res "
    "inpaint_full_res_padding inpainting_mask_invert".split()
)
"""Fields that change nothing without a field that is refused, or nothing at all of a result."""
_RESIZE: Mapping[int, str] = {0: "stretch", 1: "crop", 2: "pad"}


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


def translate(payload: Mapping[str, Any], *, picture: str = "", film: str = "") -> Translated:
    """The request of a body of ``txt2img`` or ``img2img``.

    Args:
        payload: the body.
        picture: the hash of the picture of ``img2img``; empty for ``txt2img``.
        film: the name of a network for ``interp: FILM``; empty if there is none.

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
    fields["scheduler"] = _sampler(payload)
    _override(payload.get("override_settings"), fields)
    second_pass(payload, found)
    arguments = animatediff_arguments(payload.get("alwayson_scripts"))
    found.enabled = arguments is not None and bool(arguments["enable"])
    if arguments is not None and found.enabled:
        travel_in(fields)
        animate(arguments, found, film=film)
    else:
        fields["num_frames"] = 1
        fields["motion"] = NO_MOTION
    if picture:
        _begin_with(picture, payload, found, arguments=arguments or dict(ARGUMENTS))
    unknown = set(payload) - _READ - _WITHOUT_MEANING - {name for name, _, _ in _UNSUPPORTED}
    found.notes += [f"{name:.60} is not known here and was left out." for name in sorted(unknown)]
    return found


def _sampler(payload: Mapping[str, Any]) -> str:
    """The sampler, whose noise levels newer versions of A1111 name by themselves."""
    sampler = payload.get("sampler_name") or payload.get("sampler_index") or "Euler"
    levels = payload.get("scheduler") or "Automatic"
    return sampler_of(sampler if levels in ("Automatic", "Normal") else f"{sampler} {levels}")


def second_pass(payload: Mapping[str, Any], found: Translated) -> None:
    """Add A1111's high-resolution fix as the hires pass.

    Raises:
        Refused: a number is none.
    """
    if not payload.get("enable_hr"):
        return
    fields = found.fields
    fields["hires"] = float(_number(payload, "hr_scale", 2.0))
    fields["hires_strength"] = float(_number(payload, "denoising_strength", 0.75))
    upscaler = _text(payload, "hr_upscaler") or "Latent"
    if upscaler.lower().startswith("latent"):
        fields["hires_by"] = "latent"
    elif upscaler != "None":
        fields["upscaler"] = plain_title(upscaler)


def _begin_with(
    picture: str, payload: Mapping[str, Any], found: Translated, *, arguments: Mapping[str, Any]
) -> None:
    """Begin with the picture of ``img2img``: every frame alike, or fading along the frames."""
    fields = found.fields
    fields["strength"] = float(_number(payload, "denoising_strength", 0.75))
    if not found.enabled:
        fields["init"] = picture
        fields["init_fit"] = _RESIZE.get(_number(payload, "resize_mode", 0, whole=True), "crop")
        return
    # Frame k of AnimateDiff there begins with 1 - k^latent_power / latent_scale of the picture.
    fields["image"], fields["image_way"], fields["image_pinned"] = picture, "blend", False
    fields["image_power"] = float(_real_of(arguments, "latent_power"))
    fields["image_scale"] = float(_real_of(arguments, "latent_scale"))


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


def animate(arguments: Mapping[str, Any], found: Translated, *, film: str) -> None:
    """Add what AnimateDiff's arguments say; those of pictures are read with the picture.

    Args:
        arguments: all of them, by name.
        found: fields and notes are added to it.
        film: the name of a network for ``interp: FILM``; empty if there is none.

    Raises:
        Refused: an argument, which the error names, has a value that cannot be used here.
    """
    fields = found.fields
    for name in ("video_path", "mask_path", "video_source", "last_frame"):
        if arguments[name]:
            raise _bad(
                f"{AT}.{name}",
                f"{name} cannot be given over the network; send a picture to img2img, or use "
                "/api/v1/uploads and /api/v1/jobs.",
            )
    for name in ("latent_power_last", "latent_scale_last"):
        if arguments[name] != dict(ARGUMENTS)[name]:
            raise _bad(
                f"{AT}.{name}", f"{name} belongs to last_frame, which is not taken; leave it out."
            )
    found.request_id = str(arguments.get(REQUEST_ID) or "")[:200]
    model = _of_type(arguments, "model", str)
    if model:
        fields["motion"] = model
    length = _of_type(arguments, "video_length", int)
    window = _of_type(arguments, "batch_size", int)
    fields["num_frames"] = frames = length or window
    rate = _real_of(arguments, "fps")
    fields["fps"] = int(rate) if rate == int(rate) else rate
    if frames > window >= 2:
        overlap = _of_type(arguments, "overlap", int)
        fields["window_length"] = window
        fields["window_overlap"] = overlap if overlap >= 0 else window // 4
        fields["window_schedule"] = "looped" if arguments["closed_loop"] == "A" else "uniform"
        fields["window_stride"] = _of_type(arguments, "stride", int)
        # There, every window is drawn by itself, and every frame begins from noise of its own.
        fields["windows_in"], fields["noise"] = "model", "independent"
    _close_loop(_of_type(arguments, "closed_loop", str), found)
    _interpolate(arguments, found, film=film)
    if arguments["freeinit_enable"]:
        fields["free_init"] = _of_type(arguments, "freeinit_iters", int)
        for name, plain in (("filter", "butterworth"), ("ds", 0.25), ("dt", 0.25)):
            if arguments[f"freeinit_{name}"] != plain:
                raise _bad(
                    f"{AT}.freeinit_{name}",
                    f"freeinit_{name} is {plain} here and cannot be changed; leave it out.",
                )
    if arguments["loop_number"]:
        found.notes.append("Files play without end, whatever loop_number says.")
    given = arguments["format"] or []
    names: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    unknown = [name for name in names if not isinstance(name, str) or name not in _KNOWN_FORMATS]
    if unknown:
        raise _bad(f"{AT}.format", f"The format {unknown[0]!r:.40} is not known here.")
    # PNG there means frames that the server keeps; only Frame sends them.
    sent = [FORMATS[name] for name in names if name not in ("TXT", "PNG")]
    found.formats = list(dict.fromkeys(sent)) or ["png"]


def _interpolate(arguments: Mapping[str, Any], found: Translated, *, film: str) -> None:
    match arguments["interp"]:
        case "Off" | "" | None:
            return
        case "FILM":
            found.fields["interpolate"] = _of_type(arguments, "interp_x", int)
        case other:
            raise _bad(f"{AT}.interp", f"interp = {other!r:.40} is not Off or FILM.")
    if film:
        found.fields["interpolator"] = film
    else:
        found.notes.append(
            "Frames are interpolated by optical flow, as no FILM network is in the model folders."
        )


def travel_in(fields: dict[str, Any]) -> None:
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
    if isinstance(value, bool) or not isinstance(value, kinds) or not is_finite(value):
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


def _real_of(arguments: Mapping[str, Any], name: str) -> float:
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise _bad(f"{AT}.{name}", f"{name} = {value!r:.40} is not a number.")
    return value


def _bad(name: str, detail: str) -> Refused:
    return Refused(422, detail, errors=[FieldError(name, detail)])


def numbered(seed: int, count: int) -> Sequence[int]:
    """The seeds of several pictures, one after another as there."""
    return [(seed + number) % (1 << 64) for number in range(count)]
