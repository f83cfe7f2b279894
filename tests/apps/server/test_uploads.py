"""Uploads: what is accepted, what is refused before it is decoded, and files that are out to harm."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.apps.server.served import Served, limited

from animatediff.sampling.request import AnimationRequest
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


def shrunk_or_grown(sample: bytes, chance: random.Random) -> bytes:
    """A file whose sizes are wrong: the numbers that many formats keep near their beginning."""
    data = bytearray(sample)
    for _ in range(chance.choice([1, 2, 3])):
        place = chance.randrange(4, min(len(data), 96))
        size = chance.choice([1, 2, 4, 8])
        number = chance.choice([0, 1, 7, 1 << 15, 1 << 24, (1 << 31) - 1, 1 << 62])
        order = chance.choice(["little", "big"])
        data[place : place + size] = (number % (1 << 8 * size)).to_bytes(size, order)
    return bytes(data)


def harmed(sample: bytes, chance: random.Random) -> bytes:
    return (shrunk_or_grown if chance.random() < 0.3 else mutated)(sample, chance)


def weights() -> bytes:
    """A small safetensors file of a LoRA."""
    names = [f"lora_unet_down_blocks_0_attentions_{n}_proj_in.lora_up.weight" for n in range(4)]
    table = {
        name: {"dtype": "F16", "shape": [4, 1], "data_offsets": [8 * n, 8 * n + 8]}
        for n, name in enumerate(names)
    }
    head = json.dumps({"__metadata__": {"ss_network_dim": "1"}, **table}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(32)


def with_infotext(folder: Path) -> dict[str, bytes]:
    """Pictures and a video that carry settings, ours and A1111's."""
    theirs = (
        "a castle, <lora:x:1>\nNegative prompt: blurry\nSteps: 21, Sampler: Euler a, CFG scale: 6.5, "
        'Seed: 42, Size: 64x64, AnimateDiff: "model: mm.ckpt, video_length: 16, fps: 8"'
    )
    ours = json.dumps({"request": AnimationRequest("a fox", steps=3).as_table()})
    found: dict[str, bytes] = {}
    for name, texts in (("theirs", {"parameters": theirs}), ("ours", {"animatediff": ours})):
        frames = np.zeros((2, 16, 16, 3), np.uint8)
        for kind in ("png", "gif", "webp", "mp4"):
            clip = Video(frames[:1] if kind == "png" else frames, 8)
            path = clip.save(folder / f"{name}.{kind}", metadata=texts)
            found[f"{name}.{kind}"] = path.read_bytes()
    return found


ORDER = json.dumps(
    {
        "request": {
            "prompt": "a (fox:1.2) [in|on] snow",
            "prompts": {"0": "a fox", "50%": "a hare"},
            "seed": 7,
            "steps": 3,
            "width": 64,
            "num_frames": 16,
            "loras": ["noto:0.5"],
            "guidance": 7.5,
            "fps": "24000/1001",
            "loop": True,
            "regions": ["a bear@left"],
        },
        "formats": ["mp4", "png16"],
        "priority": 1,
    }
).encode()
ANSWERS = (200, 201, 202, 400, 413, 415, 422, 429)


class Harm:
    """Sends files with something wrong and counts what is answered."""

    def __init__(self, served: Served, *, seed: int) -> None:
        self.served = served
        self.chance = random.Random(seed)
        self.seen: Counter[int] = Counter()

    def send(self, route: str, data: bytes, kind: str = "application/octet-stream") -> None:
        headers = {"Content-Type": kind}
        answer = self.served.client.post(route, content=data, headers=headers)
        assert answer.status_code in ANSWERS, (route, answer.status_code, data[:200])
        assert "Traceback" not in answer.text
        assert str(self.served.folder) not in answer.text
        self.seen[answer.status_code] += 1

    def media(self, samples: Mapping[str, bytes]) -> None:
        self.send(
            "/api/v1/uploads", harmed(samples[self.chance.choice(sorted(samples))], self.chance)
        )

    def infotext(self, samples: Mapping[str, bytes]) -> None:
        data = harmed(samples[self.chance.choice(sorted(samples))], self.chance)
        if self.chance.random() < 0.5:
            self.send("/api/v1/settings", data)
        else:
            body = json.dumps({"image": base64.b64encode(data).decode()}).encode()
            self.send("/sdapi/v1/png-info", body, "application/json")

    def orders(self) -> None:
        route = self.chance.choice(["/api/v1/jobs", "/v1/videos"])
        body = harmed(ORDER, self.chance)
        if self.chance.random() < 0.5:  # valid JSON with wrong values
            table = json.loads(ORDER)
            field = self.chance.choice(sorted(table["request"]))
            values = [None, -1, 1e308, 2**70, "", "x" * 9999, [], {}, [[]], True, "../x", "\ud800"]
            table["request"][field] = self.chance.choice(values)
            body = json.dumps(table).encode()
        self.send(route, body, "application/json")

    def form(self, samples: Mapping[str, bytes]) -> None:
        name = self.chance.choice(sorted(samples))
        head = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
            b"Content-Type: image/png\r\n\r\n"
        )
        body = harmed(head + samples[name] + b"\r\n--b--\r\n", self.chance)
        self.send("/api/v1/uploads", body, "multipart/form-data; boundary=b")

    def weights(self) -> None:
        data = harmed(weights(), self.chance)
        size = self.chance.choice([0, len(data), len(data) + 64, 1 << 33, 1 << 40])
        self.send(f"/api/v1/inspect?size={size}", data)

    def ended(self) -> Counter[int]:
        """Check that the server is as well as before, and print what it answered."""
        assert self.served.client.get("/healthz").status_code == 200
        assert list((self.served.folder / "store" / "new").iterdir()) == []
        print(dict(self.seen))
        return self.seen


# Starlette leaves the file of a part that never ends to the collector of garbage, which says so.
UNENDED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@UNENDED
def test_mutated_uploads_are_answered(
    open_house: Served, samples: dict[str, bytes], tmp_path: Path
) -> None:
    harm = Harm(open_house, seed=1)
    texts = with_infotext(tmp_path)
    for _ in range(60):
        harm.media(samples)
    for _ in range(30):
        harm.orders()
        harm.form(samples)
    for _ in range(3):
        harm.infotext(texts)
    harm.weights()
    assert harm.ended().keys() >= {201, 202, 422}


@UNENDED
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_mutated_uploads_are_answered(
    open_house: Served, samples: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """2,500 for each seed."""
    harm = Harm(open_house, seed=10 + seed)
    texts = with_infotext(tmp_path)
    for _ in range(1500):
        harm.media(samples)
    for _ in range(450):
        harm.orders()
        harm.form(samples)
    for _ in range(80):
        harm.infotext(texts)
    for _ in range(20):
        harm.weights()
    assert harm.ended().total() == 2500


def test_bombs_of_every_kind_are_answered_at_once(open_house: Served) -> None:
    picture = bytearray(png(zlib.compress(bytes(64)), width=1 << 20, height=1 << 20))
    text = png(zlib.compress(bytes(48 * 33)), width=16, height=32)
    bomb = zlib.compress(bytes(200 << 20))
    texts = text[:33] + chunk(b"zTXt", b"parameters\0\0" + bomb) + text[33:]
    sheet = b"RIFF" + (30).to_bytes(4, "little") + b"WEBPVP8X" + (10).to_bytes(4, "little")
    sheet += bytes([0x12, 0, 0, 0]) + b"\xff" * 6
    screen = b"GIF89a" + b"\xff\xff\xff\xff" + b"\x80\0\0" + bytes(6) + b"\x2c" + bytes(4)
    for data in (bytes(picture), texts, sheet, screen + b"\xff\xff\xff\xff\0\x08\0\x3b"):
        status, _ = send(open_house, data)
        assert status in (201, 422)
        answer = open_house.client.post("/api/v1/settings", files={"file": data})
        assert answer.status_code in (200, 422), answer.text
    header = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    head = json.dumps(header).encode()
    huge = len(head).to_bytes(8, "little") + head
    for data in (huge, (1 << 62).to_bytes(8, "little") + b"{}", b"\xff" * 64):
        answer = open_house.client.post(
            "/api/v1/inspect?size=1099511627776",
            content=data,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code in (200, 422), answer.text


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + crc


def png(lines: bytes, *, width: int, height: int) -> bytes:
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", lines), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_full_disk_is_a_sentence_wherever_it_is_met(
    open_house: Served, samples: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if "w" in mode and self.parent.name == "new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, mode, *more, **named)

    picture = base64.b64encode(samples["png"]).decode()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        answers = [
            open_house.client.post("/api/v1/uploads", files={"file": samples["png"]}),
            open_house.client.post("/api/v1/settings", files={"file": samples["png"]}),
            open_house.client.post("/api/v1/inspect", files={"file": weights()}),
            open_house.client.post("/sdapi/v1/png-info", json={"image": picture}),
            open_house.client.post(
                "/v1/videos", files={"prompt": (None, "x"), "input_reference": samples["png"]}
            ),
        ]
        ready = open_house.client.get("/readyz")
    assert ready.status_code == 503
    assert "no space left" in ready.json()["reason"]
    for answer in answers:
        assert answer.status_code == 507
        assert "no space left" in answer.json()["detail"]
        assert str(open_house.folder) not in answer.text
    assert send(open_house, samples["png"])[0] == 201
