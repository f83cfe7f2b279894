"""Uploads: what is accepted, what is refused before it is decoded, and files that are out to harm."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apps.server.served import Served, limited

from animatediff.video import Video

Upload = Callable[[bytes], "tuple[int, dict[str, object]]"]


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with small limits, without workers."""
    limits = limited(upload_bytes=2 << 20, upload_pixels=512 * 512, upload_frames=40)
    with Served(tmp_path_factory.mktemp("uploads"), devices=(), limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small valid file of every accepted kind."""
    folder = tmp_path_factory.mktemp("samples")
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    found: dict[str, bytes] = {}
    for kind in ("mp4", "webm", "gif", "webp"):
        found[kind] = Video(frames, 8).save(folder / f"a.{kind}").read_bytes()
    found["png"] = Video(frames[:1], 8).save(folder / "a.png").read_bytes()
    Image.fromarray(frames[0]).save(folder / "a.jpg")
    found["jpg"] = (folder / "a.jpg").read_bytes()
    return found


def send(served: Served, data: bytes) -> tuple[int, dict[str, object]]:
    headers = {"Content-Type": "application/octet-stream"}
    answer = served.client.post("/api/v1/uploads", content=data, headers=headers)
    assert "Traceback" not in answer.text
    assert str(served.folder) not in answer.text
    return answer.status_code, answer.json()


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif", "webp", "png", "jpg"])
def test_media_are_measured_and_come_back_as_they_were(
    open_house: Served, samples: dict[str, bytes], kind: str
) -> None:
    status, facts = send(open_house, samples[kind])
    assert status == 201
    assert (facts["width"], facts["height"]) == (48, 32)
    assert facts["frames"] == (1 if kind in ("png", "jpg") else 3)
    answer = open_house.client.get(f"/api/v1/uploads/{facts['hash']}/content")
    assert answer.content == samples[kind]
    assert answer.headers["content-type"] == facts["media_type"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert open_house.client.get(f"/api/v1/uploads/{facts['hash']}").json() == facts


def test_a_form_is_accepted_whatever_name_the_file_has(
    open_house: Served, samples: dict[str, bytes]
) -> None:
    for name in ("../../etc/passwd", "a.exe", "CON", "x" * 300, "a\0b.png", "<b>.html"):
        answer = open_house.client.post(
            "/api/v1/uploads", files={"file": (name, samples["png"], "text/html")}
        )
        assert answer.status_code == 201
        assert answer.json()["media_type"] == "image/png"


@pytest.mark.parametrize(
    "data",
    [
        b"<html><script>alert(1)</script></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://x/"/></svg>',
        b"#EXTM3U\nhttp://127.0.0.1/secret\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\x80\x04\x95" + b"cposix\nsystem\n",
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7",
        b"BM" + bytes(100),
        bytes(1000),
    ],
)
def test_what_is_no_picture_or_video_is_refused(open_house: Served, data: bytes) -> None:
    assert send(open_house, data)[0] == 415


def test_a_picture_that_is_a_page_too_is_only_ever_a_picture(
    open_house: Served, samples: dict[str, bytes]
) -> None:
    status, facts = send(open_house, samples["png"] + b"<html><script>alert(1)</script></html>")
    if status == 201:
        answer = open_house.client.get(f"/api/v1/uploads/{facts['hash']}/content")
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_bombs_are_refused_by_their_size(open_house: Served, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("L", (8000, 8000)).save(large)
    status, problem = send(open_house, large.read_bytes())
    assert status == 422
    assert "pixels" in str(problem["detail"]) or "large" in str(problem["detail"])
    many = tmp_path / "many.gif"
    frames = [Image.new("L", (16, 16), color=4 * number) for number in range(60)]
    frames[0].save(many, save_all=True, append_images=frames[1:])
    assert send(open_house, many.read_bytes())[0] == 422
    assert send(open_house, b"\x89PNG\r\n\x1a\n" + bytes(3 << 20))[0] == 413
    assert send(open_house, b"")[0] == 422


def test_a_store_without_room_takes_nothing(tmp_path: Path, samples: dict[str, bytes]) -> None:
    with Served(tmp_path / "tiny", devices=(), limits=limited(store_bytes=10)) as running:
        assert send(running, samples["png"])[0] == 507
        assert list((running.folder / "store" / "new").iterdir()) == []


def mutated(sample: bytes, chance: random.Random) -> bytes:
    """A file with something wrong: cut, doubled, with bytes changed, or numbers made large."""
    data = bytearray(sample)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        place = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                data[place : place + 4] = b"\xff\xff\xff\xff"
            case 2:
                del data[place : place + chance.randrange(1, 64)]
            case 3:
                data[place:place] = data[place : place + 32]
            case _:
                del data[max(16, place) :]
        if len(data) < 16:
            data += bytes(16)
    return bytes(data)


def harm(served: Served, samples: dict[str, bytes], *, count: int, seed: int) -> None:
    chance = random.Random(seed)
    seen: dict[int, int] = {}
    for number in range(count):
        sample = samples[chance.choice(sorted(samples))]
        status, _ = send(served, mutated(sample, chance))
        assert status in (201, 415, 422), (number, status)
        seen[status] = seen.get(status, 0) + 1
    assert seen.keys() >= {201, 422}
    assert served.client.get("/healthz").status_code == 200
    assert list((served.folder / "store" / "new").iterdir()) == []


def test_mutated_uploads_are_answered(open_house: Served, samples: dict[str, bytes]) -> None:
    harm(open_house, samples, count=60, seed=1)


@pytest.mark.slow
def test_ten_thousand_mutated_uploads_are_answered(
    open_house: Served, samples: dict[str, bytes]
) -> None:
    harm(open_house, samples, count=10_000, seed=2)
