"""Facts in files from elsewhere: data, never too much of it, and no file ends in a traceback."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from animatediff.errors import FileError
from animatediff.sampling.metadata import load_request
from animatediff.video import LEFT_OUT, Video, read_metadata
from animatediff.video.facts import EXIF_IFD, MAX_FACTS, MAX_LETTERS, UNICODE, USER_COMMENT

HTML = "<img src=x onerror=alert(1)>"
MEMORY = 96 << 20


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*texts: bytes, side: int = 1) -> bytes:
    """A white picture of one row's numbers, with chunks of text before them."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" + b"\xff" * side)
    start, end = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)], chunk(b"IEND", b"")
    return b"".join([*start, *texts, chunk(b"IDAT", rows), end])


def bomb(megabytes: int) -> bytes:
    """So many megabytes of nothing, compressed a thousand times."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


def webp(path: Path, comment: bytes) -> Path:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    Image.new("RGB", (8, 8)).save(path, "WEBP", exif=exif.tobytes())
    return path


def mp4(path: Path, facts: dict[str, str]) -> Path:
    return Video(np.zeros((2, 16, 16, 3), np.uint8), Fraction(8)).save(path, metadata=facts)


def held(read: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_or_refusal(path: Path) -> dict[str, str] | str:
    """The facts; or nothing, where one sentence refuses the file."""
    try:
        return read_metadata(path)
    except FileError as refused:
        return "" if "\n" not in str(refused) else str(refused)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_text_that_unpacks_to_a_thousand_times_its_size_is_refused_at_little_cost(
    tmp_path: Path,
) -> None:
    text = chunk(b"zTXt", b"animatediff\0\0" + bomb(200))
    path = written(tmp_path / "x.png", png(text))
    assert path.stat().st_size < 1 << 20

    def read() -> None:
        with pytest.raises(FileError, match=r"x\.png is broken"):
            read_metadata(path)

    assert held(read) < MEMORY


def test_twenty_thousand_facts_are_read_up_to_a_thousand(tmp_path: Path) -> None:
    texts = b"".join(chunk(b"tEXt", f"k{i}\0v".encode()) for i in range(20_000))
    path = written(tmp_path / "x.png", png(texts))
    only_some = {f"k{i}": "v" for i in range(MAX_FACTS)} | {LEFT_OUT: "19000"}
    assert read_metadata(path) == only_some
    folder = tmp_path / "frames"
    folder.mkdir()
    table = {LEFT_OUT: "a lie", **{f"k{i}": "v" for i in range(20_000)}}
    (folder / "frames.json").write_text(json.dumps(table))
    assert read_metadata(folder) == only_some


def test_texts_are_read_up_to_eight_million_letters(tmp_path: Path) -> None:
    long = {"small": "kept", **{f"k{i}": "v" * (1 << 20) for i in range(9)}, "also": "kept"}
    comment = UNICODE + json.dumps(long).encode("utf-16-be")
    facts = read_metadata(webp(tmp_path / "x.webp", comment[: 1 << 16]))
    assert set(facts) == {"comment"}  # cut in the middle, it is somebody's remark
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "frames.json").write_text(json.dumps(long))
    facts = read_metadata(folder)
    assert (facts["small"], facts["also"]) == ("kept", "kept")
    assert sum(map(len, facts.values())) <= MAX_LETTERS


def test_html_stays_the_text_that_it_is(tmp_path: Path) -> None:
    assert read_metadata(mp4(tmp_path / "x.mp4", {"comment": HTML}))["comment"] == HTML
    text = chunk(b"tEXt", b"parameters\0" + HTML.encode())
    assert read_metadata(written(tmp_path / "x.png", png(text)))["parameters"] == HTML
    assert read_metadata(webp(tmp_path / "x.webp", UNICODE + HTML.encode("utf-16-be"))) == {
        "comment": HTML
    }


@pytest.mark.parametrize(
    "stored",
    [
        "not json",
        "[1, 2]",
        '"text"',
        "null",
        "[" * 100_000,
        '{"request": [1]}',
        '{"request": "x"}',
        '{"request": {"schema": {}}}',
        '{"request": {"schema": 1, "prompt": 5}}',
        '{"request": {"schema": 1, "prompt": "a", "seed": 1e999}}',
        '{"request": {"schema": 1, "prompt": "a", "loras": {"a": 1}}}',
        '{"sha256": [], "request": {"schema": 1, "prompt": "a", "width": "wide"}}',
        '{"request": {"schema": 1, "prompt": "<img src=x onerror=alert(1)>", "stpes": 3}}',
    ],
)
def test_a_request_that_is_none_is_refused_in_one_sentence(stored: str, tmp_path: Path) -> None:
    text = chunk(b"tEXt", b"animatediff\0" + stored.encode())
    path = written(tmp_path / "x.png", png(text))
    with pytest.raises(FileError, match=r"x\.png carries") as refused:
        load_request(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "stored", ["{", "[1]", "[" * 100_000, "\ud800", '{"a": {"b": 1}, "c": [2]}']
)
def test_a_folders_facts_of_a_wrong_form_say_nothing_or_are_refused(
    stored: str, tmp_path: Path
) -> None:
    (tmp_path / "frames.json").write_text(stored, encoding="utf-8", errors="surrogatepass")
    assert read_or_refusal(tmp_path) in ("", {})


def test_facts_of_wrong_types_are_left_out(tmp_path: Path) -> None:
    table = {"A": 1, "b": ["x"], "c": {"d": 1}, "e": None, "f": 2.5}
    comment = json.dumps(table).encode()
    Image.new("P", (8, 8)).save(tmp_path / "x.gif", comment=comment)
    assert read_metadata(tmp_path / "x.gif") == {"a": "1", "f": "2.5"}


def test_exif_that_nobody_could_have_meant_says_nothing(tmp_path: Path) -> None:
    path = webp(tmp_path / "x.webp", UNICODE + b"\0a")
    content = bytearray(path.read_bytes())
    start = content.index(b"EXIF") + 8
    for place in range(start, len(content)):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        assert "\n" not in read_or_refusal(written(tmp_path / "y.webp", bytes(broken)))


def test_a_picture_of_more_pixels_than_memory_is_not_unpacked_for_its_texts(tmp_path: Path) -> None:
    text = chunk(b"tEXt", b"parameters\0a fox")
    large = written(tmp_path / "large.png", png(text, side=9000))
    assert held(lambda: read_metadata(large)) < MEMORY
    assert read_metadata(large)["parameters"] == "a fox"
    with pytest.raises(FileError, match=r"huge\.png is broken"):
        read_metadata(written(tmp_path / "huge.png", png(text, side=60_000)))


def test_a_video_of_three_thousand_facts_is_read_up_to_a_thousand(tmp_path: Path) -> None:
    facts = {f"k{i}": "v" for i in range(3000)}
    path = mp4(tmp_path / "x.mp4", facts)
    with av.open(str(path)) as container:
        surplus = len(container.metadata) - MAX_FACTS
    assert surplus >= 2000
    read = read_metadata(path)
    assert (len(read), read[LEFT_OUT]) == (MAX_FACTS + 1, str(surplus))
