"""A client of ``/v1/videos``, written from the documents of vLLM-Omni and of OpenAI's API."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.apps.server.served import Served, until

from animatediff.video import Video


def poll(served: Served, video: dict[str, Any]) -> dict[str, Any]:
    """As clients do: ask again until it is neither queued nor in progress."""
    while video["status"] in ("queued", "in_progress"):
        time.sleep(0.05)
        video = served.client.get(f"/v1/videos/{video['id']}").json()
    return video


def test_the_documented_form_makes_a_video(served: Served) -> None:
    form = {
        "prompt": "A cinematic tracking shot of a mountain lake at sunrise",
        "width": "1280",
        "height": "720",
        "num_frames": "80",
        "fps": "16",
        "num_inference_steps": "40",
    }
    answer = served.client.post("/v1/videos", files={name: (None, v) for name, v in form.items()})
    assert answer.status_code == 200, answer.text
    created = answer.json()
    assert created["status"] == "queued"
    assert isinstance(created["created_at"], int)
    done = poll(served, created)
    assert done["status"] == "completed"
    assert done["progress"] == 100
    assert done["object"] == "video"
    content = served.client.get(f"/v1/videos/{created['id']}/content")
    assert content.headers["content-type"] == "video/mp4"
    assert content.content
    part = served.client.get(f"/v1/videos/{created['id']}/content", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, content.content[:10])
    listed = served.client.get("/v1/videos").json()
    assert listed["object"] == "list"
    assert created["id"] in [each["id"] for each in listed["data"]]
    deleted = served.client.delete(f"/v1/videos/{created['id']}").json()
    assert deleted == {"id": created["id"], "object": "video.deleted", "deleted": True}
    assert served.client.get(f"/v1/videos/{created['id']}").status_code == 404


@pytest.mark.parametrize("with_picture", [False, True])
def test_a_script_for_the_openai_style_api_works_unchanged(
    served: Served, tmp_path: Path, with_picture: bool
) -> None:
    script = Path(__file__).parent / "clients" / "videos_script.py"
    words = [sys.executable, str(script), f"http://127.0.0.1:{served.port}/v1", "any-token"]
    if with_picture:
        Video(np.full((1, 16, 16, 3), 90, np.uint8), 8).save(tmp_path / "in.png")
        words.append("in.png")
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    name = found["video"]["id"]
    assert (found["video"]["size"], found["video"]["seconds"]) == ("128x96", "2")
    assert (found["type"], found["thumbnail"]) == ("video/mp4", "image/jpeg")
    assert found["bytes"] > 0
    assert found["listed"] == [name]
    assert found["deleted"] == {"id": name, "object": "video.deleted", "deleted": True}
    assert found["gone"] == [404, "invalid_request_error"]


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 40, "1e999", "-1e999", "1e308"])
def test_no_number_of_json_is_too_large_to_be_refused(served: Served, number: str) -> None:
    names = "width height num_frames fps num_inference_steps guidance_scale seconds".split()
    for name in (*names, "frame_interpolation_exp", "seed"):
        bodies = [f'{{"prompt": "a", "{name}": {number}}}']
        if name != "seconds":
            bodies.append(f'{{"prompt": "a", "seconds": 2, "{name}": {number}}}')
        for body in bodies:
            answer = served.client.post(
                "/v1/videos", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422, (body[:60], answer.text)
    lora = f'{{"prompt": "a", "lora": {{"name": "noto", "scale": {number}}}}}'
    answer = served.client.post(
        "/v1/videos", content=lora, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (200, 422)


def test_a_list_is_paged_from_either_end(tmp_path: Path) -> None:
    with Served(tmp_path / "videos", devices=()) as running:
        body = {"prompt": "a fox"}
        made = [running.client.post("/v1/videos", json=body).json()["id"] for _ in range(5)]
        for order, wanted in (("asc", made), ("desc", made[::-1])):
            seen: list[str] = []
            more, after = True, ""
            while more:
                query = {"order": order, "limit": "2", **({"after": after} if after else {})}
                page = running.client.get("/v1/videos", params=query).json()
                seen += [each["id"] for each in page["data"]]
                more, after = page["has_more"], page["last_id"]
            assert seen == wanted


def test_an_address_that_is_not_there_is_an_error_for_their_clients_too(served: Served) -> None:
    for method, path in (("POST", "/v1/videos/x/remix"), ("GET", "/v1/videos?limit=many")):
        error = served.client.request(method, path).json()["error"]
        assert error["message"]
        assert error["type"] == "invalid_request_error"


def test_openai_fields_size_and_seconds(served: Served) -> None:
    body = {"model": "emoji", "prompt": "a fox", "seconds": "4", "size": "128x96", "seed": 5}
    video = served.client.post("/v1/videos", json=body).json()
    job = served.job(video["id"])
    assert job["request"]["num_frames"] == 32
    assert (job["request"]["width"], job["request"]["height"]) == (128, 96)
    assert (video["size"], video["model"]) == ("128x96", "emoji")


def test_extensions_reach_the_request(served: Served) -> None:
    body = {
        "prompt": "a fox",
        "lora": json.dumps({"name": "noto", "scale": 0.5}),
        "extra_params": {"scheduler": "ddim", "free_init": 2},
        "guidance_scale": 2,
        "negative_prompt": "a cat",
        "frame_interpolation_exp": 2,
    }
    video = served.client.post("/v1/videos", json=body).json()
    request = served.job(video["id"])["request"]
    assert request["loras"] == ["noto:0.5"]
    assert (request["scheduler"], request["free_init"], request["guidance"]) == ("ddim", 2, 2.0)
    assert (request["negative_prompt"], request["interpolate"]) == ("a cat", 4)


def test_a_still_reference_is_animated_and_a_video_is_begun_from(
    served: Served, tmp_path: Path
) -> None:
    frames = np.full((2, 16, 16, 3), 90, np.uint8)
    still = Video(frames[:1], Fraction(8)).save(tmp_path / "input.png")
    clip = Video(frames, Fraction(8)).save(tmp_path / "input.mp4")
    files = {"prompt": (None, "animate this"), "input_reference": ("input.png", still.read_bytes())}
    video = poll(served, served.client.post("/v1/videos", files=files).json())
    assert video["status"] == "completed"
    request = served.job(video["id"])["request"]
    first = request["image"]
    assert "init" not in request
    url = f"data:image/png;base64,{base64.b64encode(still.read_bytes()).decode()}"
    body = {"prompt": "animate this", "image_reference": {"image_url": url}}
    again = served.client.post("/v1/videos", json=body).json()
    assert served.job(again["id"])["request"]["image"] == first
    data = {"prompt": "repaint", "input_reference": base64.b64encode(clip.read_bytes()).decode()}
    begun = served.job(served.client.post("/v1/videos", json=data).json()["id"])["request"]
    assert len(begun["init"]) == 64
    assert "image" not in begun


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"enable_frame_interpolation": False, "frame_interpolation_exp": 2}, None),
        ({"enable_frame_interpolation": "false", "frame_interpolation_exp": "2"}, None),
        ({"enable_frame_interpolation": True, "frame_interpolation_exp": 2}, 4),
        ({"enable_frame_interpolation": True}, 2),
    ],
)
def test_frames_are_interpolated_only_if_it_is_not_switched_off(
    served: Served, fields: dict[str, Any], wanted: int | None
) -> None:
    video = served.client.post("/v1/videos", json={"prompt": "a fox", **fields}).json()
    assert served.job(video["id"])["request"].get("interpolate") == wanted


def test_sync_answers_with_the_bytes(served: Served) -> None:
    answer = served.client.post("/v1/videos/sync", files={"prompt": (None, "a robot")})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    failed = served.client.post("/v1/videos/sync", json={"prompt": "fail"})
    assert failed.status_code == 422
    assert failed.json()["error"]["type"] == "invalid_request_error"


def test_a_failure_is_a_status_and_an_unknown_id_is_never_done(served: Served) -> None:
    video = poll(served, served.client.post("/v1/videos", json={"prompt": "fail"}).json())
    assert video["status"] == "failed"
    assert video["error"]["code"] == "2"
    early = served.client.post("/v1/videos", json={"prompt": "steps=400 sleep=0.05"}).json()
    assert served.client.get(f"/v1/videos/{early['id']}/content").status_code == 409
    until(lambda: served.client.get(f"/v1/videos/{early['id']}").json()["status"] == "in_progress")
    assert served.client.delete(f"/v1/videos/{early['id']}").json()["deleted"] is True
    for name in ("video-123", "0" * 26):
        assert served.client.get(f"/v1/videos/{name}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": "a", "size": "big"}, "size"),
        ({"prompt": "a", "seconds": "forever"}, "seconds"),
        ({"prompt": "a", "flow_shift": 5}, "flow_shift"),
        ({"prompt": "a", "lora": {"name": "noto", "path": "/x"}}, "lora"),
        ({"prompt": "a", "model": "sora-2"}, "body.model"),
        ({"prompt": "a", "image_reference": {"image_url": "https://x/y.png"}}, "image_reference"),
        ({"prompt": "a", "extra_params": "{"}, "extra_params"),
        ({"prompt": "a", "extra_params": r'{"\ud800": 1}'}, "extra_params"),
        ({"prompt": "a", "input_reference": [1]}, "input_reference"),
        ({"prompt": "a", "num_frames": "1.5"}, "num_frames"),
        ({"prompt": "a", "enable_frame_interpolation": "often"}, "enable_frame_interpolation"),
        ({"prompt": ""}, "body.prompt"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    served: Served, body: dict[str, Any], field: str
) -> None:
    answer = served.client.post("/v1/videos", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["error"]["message"] == answer.json()["detail"]


@pytest.mark.parametrize("name", ["extra_params", "lora"])
def test_an_idempotency_key_stands_for_all_fields_of_an_order(served: Served, name: str) -> None:
    key = {"Idempotency-Key": f"all-{name}"}
    values = {"extra_params": [{"num_frames": 4}, {"num_frames": 8}]}.get(
        name, [{"name": "noto", "scale": 1}, {"name": "noto", "scale": 0.5}]
    )
    orders = [{"prompt": "a fox", name: value} for value in values]
    first, again, other = (
        served.client.post("/v1/videos", json=order, headers=key)
        for order in (orders[0], orders[0], orders[1])
    )
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 409
