"""A client script for AUTOMATIC1111's API with sd-webui-animatediff, as their documents show it."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tests.apps.server.served import Served, until

from animatediff.apps.server.a1111 import ARGUMENTS, count_of, translate
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.incoming.infotext import infotext_in, settings_of
from animatediff.apps.server.incoming.infotext_request import request_of
from animatediff.sampling.choosing.windows import with_windows
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video, read_metadata
from animatediff.weights.families import FAMILIES

MOTION = "mm_sd_v15_v2.ckpt"
DICT_ARGUMENTS: dict[str, Any] = {
    "model": MOTION,
    "format": ["GIF"],
    "enable": True,
    "video_length": 16,
    "fps": 8,
    "loop_number": 0,
    "closed_loop": "R+P",
    "batch_size": 16,
    "stride": 1,
    "overlap": -1,
    "interp": "Off",
    "interp_x": 10,
    "video_source": "",
    "video_path": "",
    "mask_path": "",
    "latent_power": 1,
    "latent_scale": 32,
    "last_frame": None,
    "latent_power_last": 1,
    "latent_scale_last": 32,
    "request_id": "",
}
"""The table of arguments that their guide to the API shows."""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose model folder has the motion module that the script names."""
    models = tmp_path_factory.mktemp("webui")
    motion = models / "extensions" / "sd-webui-animatediff" / "model" / MOTION
    motion.parent.mkdir(parents=True)
    motion.write_bytes(b"")
    lora = models / "models" / "Lora" / "style.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANIMATEDIFF_MODELS", str(models))
        with Served(tmp_path_factory.mktemp("a1111")) as running:
            yield running


def payload(arguments: Any, **more: Any) -> dict[str, Any]:
    return {
        "prompt": "1girl, sitting on the beach",
        "negative_prompt": "worst quality",
        "seed": 44,
        "steps": 20,
        "width": 512,
        "height": 512,
        "sampler_name": "Euler a",
        "cfg_scale": 7,
        "alwayson_scripts": {"AnimateDiff": {"args": arguments}},
        **more,
    }


def values(count: int) -> list[Any]:
    listed = [DICT_ARGUMENTS.get(name, default) for name, default in ARGUMENTS]
    return [list(v) if isinstance(v, tuple) else v for v in listed[:count]]


@pytest.mark.parametrize("arguments", [[DICT_ARGUMENTS], DICT_ARGUMENTS, values(20), values(25)])
def test_the_published_script_works_unchanged(named: Served, arguments: Any) -> None:
    answer = named.client.post("/sdapi/v1/txt2img", json=payload(arguments))
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert len(made["images"]) == 1
    assert base64.b64decode(made["images"][0])
    info = json.loads(made["info"])
    assert (info["seed"], info["steps"], info["sampler_name"]) == (44, 20, "Euler a")
    assert made["parameters"]["prompt"] == "1girl, sitting on the beach"
    job = named.job(info["job_ids"][0])
    assert job["source"] == "a1111"
    assert job["formats"] == ["gif"]
    wanted = {"num_frames": 16, "motion": MOTION, "guidance": 7.0, "scheduler": "euler-a"}
    assert {name: job["request"][name] for name in wanted} == wanted


def test_without_animatediff_it_is_a_picture_and_batches_are_seeds(named: Served) -> None:
    body = {"prompt": "a fox", "steps": 5, "seed": 7, "batch_size": 2, "n_iter": 2}
    made = named.client.post("/sdapi/v1/txt2img", json=body).json()
    assert len(made["images"]) == 4
    info = json.loads(made["info"])
    assert info["all_seeds"] == [7, 8, 9, 10]
    job = named.job(info["job_ids"][0])
    assert (job["request"]["num_frames"], job["request"]["motion"]) == (1, "none")


def test_img2img_begins_from_the_picture(named: Served, tmp_path: Path) -> None:
    picture = Video(np.full((1, 16, 16, 3), 200, np.uint8), Fraction(8)).save(tmp_path / "in.png")
    data = base64.b64encode(picture.read_bytes()).decode()
    for text in (data, f"data:image/png;base64,{data}"):
        for arguments, field in (([DICT_ARGUMENTS], "image"), ([], "init")):
            body = payload(arguments, init_images=[text], denoising_strength=0.4)
            answer = named.client.post("/sdapi/v1/img2img", json=body)
            assert answer.status_code == 200, answer.text
            job = named.job(json.loads(answer.json()["info"])["job_ids"][0])
            assert job["request"]["strength"] == 0.4
            assert len(job["request"][field]) == 64
    for bad in (["https://example.org/a.png"], ["/etc/passwd"], [data, data], [], "x"):
        refused = named.client.post("/sdapi/v1/img2img", json=payload([], init_images=bad))
        assert refused.status_code == 422


def test_lists_and_progress_have_their_shapes(named: Served) -> None:
    models = named.client.get("/sdapi/v1/sd-models").json()
    assert {"title", "model_name", "hash", "sha256", "filename"} <= set(models[0])
    assert "emoji" in [model["model_name"] for model in models]
    assert "style" in [each["name"] for each in named.client.get("/sdapi/v1/loras").json()]
    assert all("name" in each for each in named.client.get("/sdapi/v1/samplers").json())
    assert "sd_model_checkpoint" in named.client.get("/sdapi/v1/options").json()
    assert named.client.post("/sdapi/v1/options", json={}).status_code == 422
    idle = named.client.get("/sdapi/v1/progress").json()
    assert set(idle) == {"progress", "eta_relative", "state", "current_image", "textinfo"}
    job = named.submit("a fox steps=200 sleep=0.05")
    busy = until(
        lambda: (
            p if (p := named.client.get("/sdapi/v1/progress").json())["progress"] > 0.06 else None
        )
    )
    assert busy["state"]["sampling_steps"] == 200
    named.client.post("/sdapi/v1/interrupt")
    assert named.job(job["id"])["state"] == "running"  # it is not of this API
    named.client.post(f"/api/v1/jobs/{job['id']}/cancel")
    named.ended(job["id"])


def test_interrupt_stops_what_this_api_began(named: Served) -> None:
    import threading

    answers: list[int] = []
    body = payload([DICT_ARGUMENTS], prompt="steps=500 sleep=0.05")

    def ask() -> None:
        answers.append(named.client.post("/sdapi/v1/txt2img", json=body).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: named.client.get("/sdapi/v1/progress").json()["progress"] > 0.06)
    named.client.post("/sdapi/v1/interrupt")
    thread.join(30)
    assert answers == [409]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hr_resize_x": 1024}, "hr_resize_x"),
        ({"enable_hr": True, "hr_second_pass_steps": 9}, "hr_second_pass_steps"),
        ({"eta": 0.5}, "eta"),
        ({"sampler_name": "Euler", "scheduler": "Turbo"}, "Turbo"),
        ({"styles": ["x"]}, "styles"),
        ({"sampler_name": "PLMS"}, "PLMS"),
        ({"sampler_name": "Nonsense"}, "Nonsense"),
        ({"alwayson_scripts": {"ControlNet": {"args": []}}}, "ControlNet"),
        ({"alwayson_scripts": {"AnimateDiff": {"args": [1, 2, 3]}}}, "3 arguments"),
        (
            {"alwayson_scripts": {"AnimateDiff": {"args": [{"video_path": "/a", "enable": True}]}}},
            "video_path",
        ),
        ({"alwayson_scripts": {"AnimateDiff": {"args": [{"format": 5, "enable": True}]}}}, "5"),
        (
            {
                "alwayson_scripts": {
                    "AnimateDiff": {"args": [{"format": [["GIF"]], "enable": True}]}
                }
            },
            "['GIF']",
        ),
        ({"override_settings": {"sd_model_checkpoint": "../x"}}, "path"),
        ({"n_iter": 100}, "100"),
        ({"steps": "many"}, "steps"),
    ],
)
def test_what_is_not_done_here_is_said(named: Served, change: dict[str, Any], words: str) -> None:
    answer = named.client.post("/sdapi/v1/txt2img", json={"prompt": "a fox", **change})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


ARGUMENT_CASES: dict[str, tuple[Any, dict[str, Any] | str]] = {
    "model": (MOTION, {"motion": MOTION}),
    "enable": (True, {"num_frames": 16}),
    "video_length": (8, {"num_frames": 8}),
    "fps": (12, {"fps": 12}),
    "loop_number": (3, "Files play without end, whatever loop_number says."),
    "closed_loop": ("A", {"loop": True}),
    "batch_size": (8, {"num_frames": 24, "window_length": 8}),
    "stride": (2, {"window_stride": 2}),
    "overlap": (3, {"window_overlap": 3}),
    "format": (["WEBM"], {}),
    "interp": ("FILM", {"interpolate": 10}),
    "interp_x": (4, {"interpolate": 4}),
    "video_source": ("a.mp4", "refused"),
    "video_path": ("/frames", "refused"),
    "mask_path": ("/masks", "refused"),
    "freeinit_enable": (True, {"free_init": 3}),
    "freeinit_filter": ("gaussian", "refused"),
    "freeinit_ds": (0.5, "refused"),
    "freeinit_dt": (0.5, "refused"),
    "freeinit_iters": (5, {"free_init": 5}),
    "latent_power": (2, {"image_power": 2.0, "image_way": "blend"}),
    "latent_scale": (8, {"image_scale": 8.0, "image_pinned": False}),
    "last_frame": ("base64", "refused"),
    "latent_power_last": (2, "refused"),
    "latent_scale_last": (8, "refused"),
}
"""For each argument a value that is not its default, and the fields that it sets; or that it is
refused by its name, or a note."""
NEEDED = {
    "stride": {"video_length": 24},
    "overlap": {"video_length": 24},
    "batch_size": {"video_length": 24},
    "interp_x": {"interp": "FILM"},
    **{f"freeinit_{name}": {"freeinit_enable": True} for name in ("filter", "ds", "dt", "iters")},
}
"""Other arguments without which one means nothing."""


@pytest.mark.parametrize("name", [name for name, _ in ARGUMENTS])
@pytest.mark.parametrize("listed", [True, False])
def test_every_argument_is_used_or_refused_by_its_name(name: str, listed: bool) -> None:
    value, wanted = ARGUMENT_CASES[name]
    given = {**dict(ARGUMENTS), "model": "", "enable": True, **NEEDED.get(name, {}), name: value}
    arguments: Any = list(given.values()) if listed else [given]
    if wanted == "refused":
        with pytest.raises(Refused, match=name) as caught:
            translate(payload(arguments), picture="ab" * 32)
        assert caught.value.errors[0].field.endswith(f".{name}")
        return
    found = translate(payload(arguments), picture="ab" * 32)
    if isinstance(wanted, str):
        assert wanted in found.notes
    else:
        assert {field: found.fields[field] for field in wanted} == wanted
    if name == "format":
        assert found.formats == ["webm"]


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), 1e308])
def test_no_number_is_too_large_to_be_refused(number: float) -> None:
    names = (
        "seed steps cfg_scale width height denoising_strength hr_scale n_iter batch_size".split()
    )
    bodies = [{"prompt": "a", "enable_hr": True, name: number} for name in names]
    bodies += [
        payload([{**DICT_ARGUMENTS, "freeinit_enable": True, "interp": "FILM", name: number}])
        for name, default in ARGUMENTS
        if isinstance(default, int | float) and not isinstance(default, bool)
    ]
    for body in bodies:
        # Whatever is translated, the checks of the request's fields refuse.
        with contextlib.suppress(Refused):
            translate(body, picture="ab" * 32)
        with contextlib.suppress(Refused):
            count_of(body)


def test_film_is_used_where_there_is_a_network_of_it() -> None:
    body = payload([{**DICT_ARGUMENTS, "interp": "FILM", "interp_x": 2}])
    found = translate(body, film="film_net_fp32")
    assert found.fields["interpolator"] == "film_net_fp32"
    assert found.notes == ["closed_loop R+P closes the prompt travel; A closes the animation."]
    with pytest.raises(Refused, match="interp"):
        translate(payload([{**DICT_ARGUMENTS, "interp": "RIFE"}]))


def test_the_high_resolution_fix_is_the_hires_pass() -> None:
    latent = translate({"prompt": "a fox", "enable_hr": True, "denoising_strength": 0.7}).fields
    assert (latent["hires"], latent["hires_strength"], latent["hires_by"]) == (2.0, 0.7, "latent")
    named = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "R-ESRGAN 4x+"}
    assert translate({"prompt": "a fox", **named}).fields["upscaler"] == "R-ESRGAN 4x+"


def test_levels_of_noise_and_unknown_fields() -> None:
    found = translate({"prompt": "a", "sampler_name": "DPM++ 2M", "scheduler": "Karras", "x": 1})
    assert found.fields["scheduler"] == "dpm++2m-karras"
    assert found.notes == ["x is not known here and was left out."]


SCRIPT = Path(__file__).parent / "clients" / "a1111_script.py"


@pytest.mark.parametrize("kind", ["dict", "list20", "list25"])
@pytest.mark.parametrize("with_picture", [False, True])
def test_a_script_for_the_web_interface_works_unchanged(
    named: Served, tmp_path: Path, kind: str, with_picture: bool
) -> None:
    words = [sys.executable, str(SCRIPT), f"http://127.0.0.1:{named.port}", kind]
    if with_picture:
        Video(np.full((1, 16, 16, 3), 200, np.uint8), Fraction(8)).save(tmp_path / "in.png")
        words.append("in.png")
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["files"] == 2
    assert answer["info"]["request_id"] == ("my-request" if kind == "dict" else "")
    job = named.job(answer["info"]["job_ids"][0])
    assert job["formats"] == ["gif", "mp4"]
    wanted = {
        "motion": MOTION,
        "num_frames": 24,
        "fps": "12",
        "loop": True,
        "window_length": 16,
        "window_stride": 2,
        "window_overlap": 4,
        "interpolate": 3,
        "free_init": 2,
        "scheduler": "dpm++2m-karras",
        "clip_skip": 2,
        "guidance": 7.0,
    }
    if with_picture:
        # A list of twenty has no latent_power and latent_scale: they keep their defaults.
        wanted |= {"strength": 0.6, "image_way": "blend", "image_pinned": False}
        wanted |= {} if kind == "list20" else {"image_power": 1.5, "image_scale": 24.0}
    assert {name: job["request"].get(name) for name in wanted} == wanted


def test_long_clips_loops_and_travel_are_translated() -> None:
    arguments = {
        **DICT_ARGUMENTS,
        "video_length": 48,
        "overlap": 6,
        "stride": 2,
        "closed_loop": "A",
        "format": ["MP4", "Frame", "TXT"],
        "interp": "FILM",
        "interp_x": 3,
        "freeinit_enable": True,
        "freeinit_iters": 2,
    }
    found = translate(payload([arguments], prompt="best quality\n0: a fox\n16: a hare\nflat"))
    assert found.fields["prompts"] == {
        "0": "best quality, a fox, flat",
        "16": "best quality, a hare, flat",
    }
    wanted = {
        "num_frames": 48,
        "window_length": 16,
        "window_overlap": 6,
        "window_stride": 2,
        "loop": True,
        "interpolate": 3,
        "free_init": 2,
    }
    assert {name: found.fields[name] for name in wanted} == wanted
    assert found.formats == ["mp4", "png"]
    assert any("FILM" in note for note in found.notes)
    with pytest.raises(Refused, match="closed_loop"):
        translate(payload([{**DICT_ARGUMENTS, "closed_loop": "Z"}]))


INFOTEXT = (
    "1girl, <lora:style:0.8>\nsecond line\nNegative prompt: worst quality\nSteps: 25, "
    "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 123, Size: 512x768, "
    'Model hash: 0123456789, Model: fox, Clip skip: 2, Hires upscale: 2, AnimateDiff: "model: '
    "mm_sd_v15_v2.ckpt, video_length: 16, fps: 8, loop_number: 0, closed_loop: A, batch_size: 16, "
    'stride: 1, overlap: 4, interp: Off, interp_x: 10, mm_hash: 69ed0f5f", Version: v1.8.0'
)


def test_an_infotext_becomes_settings() -> None:
    fields, notes = request_of(INFOTEXT)
    assert fields == {
        "prompt": "1girl, <lora:style:0.8>\nsecond line",
        "negative_prompt": "worst quality",
        "steps": 25,
        "scheduler": "dpm++2m-karras",
        "guidance": 7.5,
        "seed": 123,
        "width": 512,
        "height": 768,
        "model": "fox",
        "clip_skip": 2,
        "motion": "mm_sd_v15_v2.ckpt",
        "num_frames": 16,
        "fps": 8,
        "loop": True,
        "hires": 2.0,
        "hires_strength": 0.75,
        "hires_by": "latent",
    }
    assert notes == []


def animated(items: str, *, prompt: str = "a fox", more: str = "") -> str:
    return f'{prompt}\nSteps: 20, Sampler: Euler a, CFG scale: 7{more}, AnimateDiff: "{items}"'


FROM_INFOTEXT: list[tuple[str, dict[str, Any], str]] = [
    (
        "video_length: 32, batch_size: 16, stride: 2, overlap: -1, closed_loop: R-P",
        {
            "num_frames": 32,
            "window_length": 16,
            "window_stride": 2,
            "window_overlap": 4,
            "window_schedule": "uniform",
            "windows_in": "model",
            "noise": "independent",
        },
        "",
    ),
    ("video_length: 32, batch_size: 8, overlap: 6", {"window_length": 8, "window_overlap": 6}, ""),
    ("video_length: 32, closed_loop: A", {"loop": True, "window_schedule": "looped"}, ""),
    ("closed_loop: R+P", {}, "closed_loop R+P closes the prompt travel"),
    ("freeinit_enable: True", {"free_init": 3}, "does not say freeinit_iters; 3 are made"),
    ("freeinit_enable: True, freeinit_iters: 2", {"free_init": 2}, ""),
    ("freeinit_enable: True, freeinit_ds: 0.5", {"free_init": 3}, "'AnimateDiff freeinit_ds' has"),
    ("interp: FILM, interp_x: 3", {"interpolate": 3}, "by optical flow"),
    ("latent_power: 2, latent_scale: 16.5", {"image_power": 2, "image_scale": 16.5}, ""),
    ("latent_power_last: 2", {}, "'AnimateDiff latent_power_last' has"),
    ("fps: 23.976", {"fps": 23.976}, ""),
    ("loop_number: 3", {}, "Files play without end"),
    ("closed_loop: Z, fps: 12", {"fps": 12}, "'AnimateDiff closed_loop' has"),
    ("video_length: many, colour: red", {"num_frames": 16}, "'AnimateDiff colour' has"),
    ("request_id: abc, mm_hash: 69ed0f5f, enable: True", {"num_frames": 16}, ""),
]
"""What an infotext says of AnimateDiff, the fields that it gives, and a part of its only note."""


@pytest.mark.parametrize(("items", "wanted", "words"), FROM_INFOTEXT)
def test_every_argument_in_an_infotext_is_used_or_noted(
    items: str, wanted: dict[str, Any], words: str
) -> None:
    fields, notes = request_of(animated(items))
    assert {name: fields.get(name) for name in wanted} == wanted
    assert any(words in note for note in notes) if words else notes == []


def test_an_infotext_closes_the_travel_of_its_prompt() -> None:
    fields, _ = request_of(animated("closed_loop: R+P", prompt="0: a fox\n8: a hare"))
    assert fields["closed_loop"] is True
    assert fields["prompts"] == {"0": "a fox", "8": "a hare"}


def test_the_second_pass_in_an_infotext_is_the_hires_pass() -> None:
    more = ", Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 9, Hires upscaler: ESRGAN"
    fields, notes = request_of(animated("fps: 8", more=more))
    assert (fields["hires"], fields["hires_strength"]) == (1.5, 0.4)
    assert fields["upscaler"] == "ESRGAN"
    assert notes == ["'Hires steps' has no setting here and is left out."]
    fields, notes = request_of(animated("fps: 8", more=", Denoising strength: 0.4"))
    assert "strength" not in fields
    assert "strength 0.4" in notes[0]


def test_notes_on_an_infotext_are_not_without_end() -> None:
    assert len(request_of(animated(", ".join(f"a{n}: 1" for n in range(5000))))[1]) == 51


def test_long_clips_have_the_windows_of_the_web_interface() -> None:
    for batch, overlap, wanted in ((16, -1, 4), (8, -1, 2), (16, 0, 0)):
        arguments = {
            **DICT_ARGUMENTS,
            "video_length": 48,
            "batch_size": batch,
            "overlap": overlap,
        }
        fields = translate(payload([arguments])).fields
        assert (fields["window_length"], fields["window_overlap"]) == (batch, wanted)
        assert (fields["windows_in"], fields["noise"]) == ("model", "independent")


@pytest.mark.parametrize("closed", ["N", "R-P", "R+P", "A"])
def test_every_closed_loop_of_a_long_clip_can_be_made(closed: str) -> None:
    arguments = {**DICT_ARGUMENTS, "video_length": 48, "closed_loop": closed}
    request = AnimationRequest(**translate(payload([arguments])).fields)
    _, plan = with_windows(request, family=FAMILIES["v2"], moves=True)
    assert (plan.schedule, plan.overlap) == ("looped" if closed == "A" else "uniform", 4)


@pytest.mark.parametrize("text", ["", "\n" * 1000, ":" * 100_000, '"' * 100_000, "a: " * 50_000])
def test_any_text_can_be_read_as_an_infotext(text: str) -> None:
    settings_of(text)
    request_of(text)


def test_a_picture_gives_its_settings_back(named: Served, tmp_path: Path) -> None:
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    path = Video(frames, Fraction(8)).save(
        tmp_path / "theirs.gif", metadata={"parameters": INFOTEXT}
    )
    image = base64.b64encode(path.read_bytes()).decode()
    info = named.client.post("/sdapi/v1/png-info", json={"image": image}).json()
    assert info["info"] == INFOTEXT
    assert info["parameters"]["Steps"] == "25"
    read = named.client.post("/api/v1/settings", files={"file": path.read_bytes()})
    assert read.json()["source"] == "a1111"
    assert read.json()["request"]["seed"] == 123
    plain = Video(frames, Fraction(8)).save(tmp_path / "plain.gif")
    assert (
        named.client.post("/api/v1/settings", files={"file": plain.read_bytes()}).status_code == 422
    )
    text = named.client.post("/api/v1/settings", files={"file": b"no picture at all"})
    assert text.status_code == 415


def exif(comment: bytes) -> Image.Exif:
    table = Image.Exif()
    table.get_ifd(0x8769)[0x9286] = comment
    return table


def theirs(folder: Path, name: str) -> Path:
    """A file with an infotext where A1111 and sd-webui-animatediff store it, written without us."""
    path = folder / name
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    kept: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]}
    wide = INFOTEXT.encode("utf-16-be")
    match name:
        case "a.gif":
            pictures[0].save(path, comment=INFOTEXT, **kept)
        case "a.webp":
            pictures[0].save(path, exif=exif(b"UNICODE\0" + wide), **kept)
        case "big-endian.jpg":
            pictures[0].save(path, exif=exif(b"UNICODE\0" + wide))
        case "little-endian.jpg":
            pictures[0].save(path, exif=exif(b"UNICODE\0" + INFOTEXT.encode("utf-16-le")))
        case "ascii.jpg":
            pictures[0].save(path, exif=exif(b"ASCII\0\0\0" + INFOTEXT.encode()))
        case _:
            field, codec = {
                "comment.mp4": ("Comment", "libx264"),
                "title.webm": ("Title", "libvpx-vp9"),
                "comment.webm": ("Comment", "libvpx-vp9"),
            }[name]
            with av.open(path, "w") as file:
                file.metadata[field] = INFOTEXT
                stream: Any = file.add_stream(codec, rate=8)
                stream.width = stream.height = 16
                stream.pix_fmt = "yuv420p"
                for picture in pictures:
                    file.mux(stream.encode(av.VideoFrame.from_image(picture)))
                file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "a.gif",
        "a.webp",
        "big-endian.jpg",
        "little-endian.jpg",
        "ascii.jpg",
        "comment.mp4",
        "title.webm",
        "comment.webm",
    ],
)
def test_every_format_of_the_web_interface_is_searched(tmp_path: Path, name: str) -> None:
    assert infotext_in(read_metadata(theirs(tmp_path, name))) == INFOTEXT


def test_a_file_of_the_web_interface_gives_its_settings_back(named: Served, tmp_path: Path) -> None:
    data = theirs(tmp_path, "big-endian.jpg").read_bytes()
    read = named.client.post("/api/v1/settings", files={"file": data}).json()
    assert (read["source"], read["request"]["seed"]) == ("a1111", 123)
    body = {"image": base64.b64encode(data).decode()}
    info = named.client.post("/sdapi/v1/png-info", json=body).json()
    assert info["info"] == INFOTEXT
    assert info["parameters"]["Seed"] == "123"


def test_a_comment_that_is_no_infotext_gives_no_settings() -> None:
    for comment in ("made with love", "a: 1, b: 2, c: 3", ""):
        assert infotext_in({"comment": comment, "title": "My dog"}) == ""
    assert infotext_in({"comment": "by me", "title": INFOTEXT}) == INFOTEXT
    assert infotext_in({"parameters": "a fox", "comment": INFOTEXT}) == "a fox"
