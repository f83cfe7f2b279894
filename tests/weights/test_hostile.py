"""Files that are meant to do harm: nothing in them runs, and none costs more than a sentence."""

# ruff: noqa: E501 - a header that breaks a rule reads best on one line

from __future__ import annotations

import io
import json
import math
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time
import timeit
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.effort import within
from tests.weights import synthetic
from tests.weights.mutations import mutated, overwrite

from animatediff.apps.cli import main
from animatediff.errors import FileError
from animatediff.weights.inspect import inspect
from animatediff.weights.storage.files import MAX_TENSORS, read_header, read_weights
from animatediff.weights.storage.legacy import converted_to_safetensors, read_legacy_header

MAGIC = 0x1950A86A20F9469CFC6C


# --- Pickles that run programs -----------------------------------------------------------------


class Calls:
    """Unpickles as whatever a function returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def global_call(module: str, name: str, argument: str) -> bytes:
    return f"c{module}\n{name}\n(V{argument}\ntR".encode()


def payloads(canary: Path) -> dict[str, bytes]:
    """Pickles that make the file ``canary`` when a real unpickler reads them."""
    touch = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w')"
    benign = pickle.dumps({"a": 1}, protocol=2)[2:]
    memo = (
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93"
        + b"\x8c"
        + bytes([len(touch)])
        + touch.encode()
        + b"\x85R."
    )
    return {
        **{f"os.system, protocol {p}": pickle.dumps(Calls(os.system, touch), p) for p in range(6)},
        "builtins.exec": pickle.dumps(Calls(exec, code)),
        "builtins.eval": pickle.dumps(Calls(eval, code)),
        "pkgutil.resolve_name": (
            b"cpkgutil\nresolve_name\n(Vos:system\ntR(V" + touch.encode() + b"\ntR."
        ),
        "functools.partial": pickle.dumps(Calls(partial(os.system, touch))),
        "subprocess": pickle.dumps(Calls(subprocess.call, ["touch", str(canary)])),
        "a call that is popped": b"\x80\x02" + global_call("os", "system", touch) + b"0" + benign,
        "names out of the memo": memo,
        "an old instance": b"(V" + touch.encode() + b"\nios\nsystem\n.",
        "an object": b"(cos\nsystem\nV" + touch.encode() + b"\no.",
        "inside of a table": pickle.dumps({"a": Calls(os.system, touch)}, protocol=2),
        "as a key": b"\x80\x02}" + global_call("os", "system", touch) + b"K\x01s.",
        "getattr": (
            b"cbuiltins\ngetattr\n(c__builtin__\n__import__\n(Vos\ntRVsystem\ntR(V"
            + touch.encode()
            + b"\ntR."
        ),
        "runpy": b"crunpy\n_run_code\n(V" + code.encode() + b"\n}tR.",
        "timeit": pickle.dumps(Calls(timeit.timeit, code, "pass", time.perf_counter, 1)),
    }


PAYLOADS = tuple(payloads(Path("x")))


def as_zip(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", b"\0" * 8)
    return buffer.getvalue()


def as_old(payload: bytes) -> bytes:
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    start = (pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, facts))
    return b"".join(start) + payload + pickle.dumps([], protocol=2)


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"bare": bytes, "zip": as_zip, "old": as_old}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_ever_runs(payload: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content = payloads(canary)[payload]
    for container, name in zip(CONTAINERS, ("x.ckpt", "x.pt", "x.SAFETENSORS"), strict=True):
        path = tmp_path / name
        path.write_bytes(CONTAINERS[container](content))
        with pytest.raises(FileError) as caught:
            inspect(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(FileError):
            read_header(path)
    with pytest.raises(FileError):
        converted_to_safetensors(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert {p.name for p in tmp_path.iterdir()} == {"x.ckpt", "x.pt", "x.SAFETENSORS"}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_payloads_are_live(payload: str, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    canary = tmp_path / "canary"
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    content = payloads(canary)[payload]
    subprocess.run([sys.executable, "-S", "-c", program], input=content, capture_output=True)
    assert canary.exists()


def test_a_pickle_inside_of_a_pickle_is_not_read(tmp_path: Path) -> None:
    inner = pickle.dumps(Calls(os.system, f"touch {tmp_path / 'canary'}"))
    for function in (torch.storage._load_from_bytes, pickle.loads):
        (tmp_path / "x.bin").write_bytes(as_zip(pickle.dumps(Calls(function, inner), protocol=2)))
        with pytest.raises(FileError, match=r"no weights need"):
            inspect(tmp_path / "x.bin")
    assert not (tmp_path / "canary").exists()


def test_a_payload_beside_good_weights_is_refused_all_the_same(tmp_path: Path) -> None:
    content = {
        "state_dict": {"a": torch.ones(2)},
        "x": Calls(os.system, f"touch {tmp_path}/canary"),
    }
    torch.save(content, tmp_path / "x.ckpt")  # noqa: TID251 - what an attacker wrote
    with pytest.raises(FileError, match=r"names (posix|nt)\.system, a program"):
        converted_to_safetensors(tmp_path / "x.ckpt", tmp_path / "y")
    assert {path.name for path in tmp_path.iterdir()} == {"x.ckpt"}


def test_a_state_that_would_be_set_by_a_foreign_class_is_only_carried(tmp_path: Path) -> None:
    """``__setstate__`` of a class is never found, so that it cannot be called."""
    built = b"cevil.package\nThing\n)\x81}V_x\nK\x01sb"
    (tmp_path / "x.pt").write_bytes(b"\x80\x02" + built + b".")
    with pytest.raises(FileError, match=r"an object of evil\.package\.Thing"):
        read_legacy_header(tmp_path / "x.pt")


def test_the_command_line_ends_with_the_code_of_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(payloads(tmp_path / "canary")["builtins.exec"])
    assert main(["inspect", str(path)]) == 3
    assert "a program that no weights need" in capsys.readouterr().err
    assert not (tmp_path / "canary").exists()


# --- Pickles that would use up the machine -----------------------------------------------------


def tensor_pickle(*, shape: bytes, strides: bytes, count: int = 2) -> bytes:
    """A table of one tensor, whose shape and strides are given as opcodes."""
    number = pickle.dumps(count, protocol=2)[2:-1]
    return (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + number
        + b"tQK\x00"
        + shape
        + strides
        + b"\x89}tRs."
    )


def large(number: int) -> bytes:
    return pickle.dumps(number, protocol=2)[2:-1]


BOMBS: dict[str, Callable[[], bytes]] = {
    "a text times 2^34": lambda: b"coperator\nmul\n(Va\n" + large(2**34) + b"tR.",
    "lists in one another, 200,000 deep": lambda: as_zip(
        b"\x80\x02" + b"]" * 200_000 + b"a" * 200_000 + b"."
    ),
    "a table in itself": lambda: as_zip(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
    "tables that double 40 times": lambda: as_zip(
        b"\x80\x02}X\x01\x00\x00\x00aK\x01s"
        + b"q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00u" * 40
        + b"."
    ),
    "a key of doubled tuples": lambda: as_zip(b"\x80\x02}K\x01" + b"2\x86" * 200 + b"K\x01s."),
    "a memo of two billion": lambda: as_zip(b"\x80\x02}r\xff\xff\xff\x7f."),
    "a text of four gigabytes": lambda: as_zip(b"\x80\x04\x8d" + struct.pack("<Q", 2**32) + b"a."),
    "a number of a million digits": lambda: as_zip(b"L" + b"9" * 10**6 + b"L\n."),
    "a tensor larger than its numbers": lambda: as_zip(
        tensor_pickle(shape=large(2**40) + b"\x85", strides=b"K\x01\x85")
    ),
    "a tensor of one number, 2^40 times": lambda: as_zip(
        tensor_pickle(shape=large(2**40) + b"\x85", strides=b"K\x00\x85")
    ),
    "a tensor before its numbers": lambda: as_zip(
        tensor_pickle(shape=b"K\x02\x85", strides=b"J\xff\xff\xff\xff\x85")
    ),
    "more numbers than there are": lambda: as_zip(
        tensor_pickle(shape=b"K\x02\x85", strides=b"K\x01\x85", count=10**9)
    ),
    "a zip of zeros, compressed": lambda: compressed(64 << 20),
    "a member of four gigabytes": lambda: overstated(),
    "two members of the same name": lambda: doubled(),
    "a tar": lambda: b"\0" * 257 + b"ustar" + b"\0" * 250,
    "a zip inside of nothing": lambda: b"PK\x03\x04" + b"\0" * 100,
    "no end": lambda: as_zip(b"\x80\x02}"),
    "marks that were never set": lambda: as_zip(b"\x80\x02u."),
    "a pop of nothing": lambda: as_zip(b"\x80\x02000."),
}


def compressed(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"N" * size)
    assert len(buffer.getvalue()) < size // 500
    return buffer.getvalue()


def overstated() -> bytes:
    """Both places where a zip says a member's size say four gigabytes."""
    content = bytearray(as_zip(b"\x80\x02}."))
    for start, offset in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
        place = content.index(start) + offset
        content[place : place + 8] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    return bytes(content)


def doubled() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data.pkX", b"\x80\x02}.")
    return buffer.getvalue().replace(b"data.pkX", b"data.pkl")


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bomb_goes_off(bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(BOMBS[bomb]())
    tracemalloc.start()
    try:
        with within(10), pytest.raises(FileError) as caught:
            converted_to_safetensors(path, tmp_path / "y")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.slow
def test_ten_million_instructions_are_too_many(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(as_zip(b"\x80\x02" + b"N0" * 5_000_000 + b"}."))
    with pytest.raises(FileError, match=r"longer than any table|was stopped"):
        read_legacy_header(tmp_path / "x.ckpt")


def test_every_instruction_of_pickle_is_followed_or_refused(tmp_path: Path) -> None:
    """One of each after the other, out of order: sentences, and never a traceback."""
    rng = random.Random(0)
    opcodes = [op.code.encode("latin-1") for op in pickletools.opcodes]
    for i in range(12):
        body = b"".join(
            rng.choice(opcodes) + (rng.randbytes(rng.randrange(9)) if rng.random() < 0.4 else b"")
            for _ in range(60)
        )
        (tmp_path / "x.pt").write_bytes(as_zip(b"\x80\x02(}" + body + b"."))
        with pytest.raises(FileError, match=r"x\.pt (is|holds|names|has|calls)"):
            read_legacy_header(tmp_path / "x.pt")
        assert i < 12


# --- Safetensors that break the rules ----------------------------------------------------------


def raw(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize("cut", range(1, 33))
def test_a_file_cut_anywhere_is_refused_with_its_path(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.randn(100), "b": torch.randn(30).half()}, path)
    content = path.read_bytes()
    shorter = content[:-1] if cut == 32 else content[: len(content) * cut // 32]
    for changed in (shorter, content + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(FileError, match=r"x\.safetensors") as caught:
            inspect(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 0),
        struct.pack("<Q", 7) + b"{}",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{}",
        struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 600_000) + b'{"a":' * 120_000,
        b"",
        b"{}",
        b"<!DOCTYPE html><html>",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
    ids=[
        *("empty header", "longer than the file", "absurd", "99 MB", "not text", "a list"),
        *("nested lists", "nested tables", "empty file", "JSON", "a web page", "a pointer"),
    ],
)
def test_a_broken_header_costs_next_to_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with within(0.05), pytest.raises(FileError):
        inspect(path)
    tracemalloc.start()
    try:
        with pytest.raises(FileError):
            inspect(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


def test_a_header_of_a_million_tensors_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 66_000_000) + b'{"a":')
        file.truncate(66_000_008)
    with pytest.raises(FileError, match="at most"):
        inspect(path)


def test_more_tensors_than_any_model_has_are_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    table = {f"t{i}": entry for i in range(MAX_TENSORS + 1)}
    with pytest.raises(FileError, match=f"at most {MAX_TENSORS}"):
        inspect(raw(tmp_path / "x", table))


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}}, 6),
        ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "b": {"dtype": "U8", "shape": [2], "data_offsets": [4, 6]}}, 6),
        ({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, 0),
        ({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": "Q17", "shape": [1], "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": None, "shape": [1], "data_offsets": [0, 4]}}, 4),
        ({"a": 3}, 0),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4),
        ({"__metadata__": {"a": 1}}, 0),
        ({"__metadata__": [1]}, 0),
    ],
    ids=[
        *("twice", "overlap", "hole", "overflow", "negative", "fraction", "truth", "F4", "Q17"),
        *("null", "number", "no offsets", "metadata number", "metadata list"),
    ],
)  # fmt: skip
def test_an_entry_that_breaks_the_rules_is_refused(
    header: object, size: int, tmp_path: Path
) -> None:
    with pytest.raises(FileError):
        inspect(raw(tmp_path / "x", header, b"\0" * size))


def test_numbers_without_end_are_not_multiplied(tmp_path: Path) -> None:
    digits = ",".join(["9" * 4000] * 400)
    table = f'{{"a":{{"dtype":"F32","shape":[{digits}],"data_offsets":[0,4]}}}}'.encode()
    with within(0.5), pytest.raises(FileError, match="its entry a is wrong"):
        inspect(raw(tmp_path / "x", table, b"\0" * 4))
    table = f'{{"a":{{"dtype":"{"x" * 4_000_000}","shape":[1],"data_offsets":[0,4]}}}}'.encode()
    with within(0.5), pytest.raises(FileError, match="which is not supported"):
        inspect(raw(tmp_path / "x", table, b"\0" * 4))


def test_eight_bit_floats_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4).to(torch.float8_e4m3fn)}, tmp_path / "x")
    assert inspect(tmp_path / "x").dtypes == {"F8_E4M3": 1}


NAMES = ("../../etc/passwd", "/etc/passwd", "a\0b", "x" * 10_000, "🦊", "a\nb", "..\\..\\x", "")


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_names_of_tensors_are_data(old: bool, tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    tensors = {name: torch.full((2,), float(i)) for i, name in enumerate(NAMES)}
    torch.save(tensors, home / "x.pt", _use_new_zipfile_serialization=not old)  # noqa: TID251 - hostile
    target = converted_to_safetensors(home / "x.pt", home / "y.safetensors")
    got = load_file(target)
    assert all(torch.equal(got[name], tensors[name]) for name in NAMES)
    assert inspect(target).kind == "unknown"
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"x.pt", "y.safetensors"}


def test_hostile_names_reach_the_terminal_without_their_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"\x1b[2Ja": {"dtype": "Q9\x1b[2J", "shape": [1], "data_offsets": [0, 4]}}
    assert main(["inspect", str(raw(tmp_path / "x", table, b"\0" * 4))]) == 3
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


def test_a_file_that_changes_between_check_and_use_is_noticed(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, 3)}, tmp_path / "x")
    header = read_header(tmp_path / "x")
    save_file({"a": torch.ones(3, 2)}, tmp_path / "x")
    with pytest.raises(FileError, match="changed"):
        read_weights(header)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_by_name(bad: float, tmp_path: Path) -> None:
    save_file({"fine": torch.ones(2), "broken": torch.tensor([1.0, bad])}, tmp_path / "x")
    with pytest.raises(FileError, match="broken contains NaN or infinity"):
        read_weights(read_header(tmp_path / "x"), refuse_nan=True)


def test_fifty_thousand_long_names_are_looked_at_within_a_second(tmp_path: Path) -> None:
    """The most that a header may hold, and nothing that a rule finds early."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    table = {f"{i}.{'motion_module.' * 16}{i}": entry for i in range(49_000)}
    path = raw(tmp_path / "x", table)
    with within(1.0):
        assert inspect(path).kind == "unknown"


# --- Fuzzing -----------------------------------------------------------------------------------


def test_three_thousand_mutated_files_are_named_or_refused(tmp_path: Path) -> None:
    """The large run is ``benchmarks/fuzz_inspect.py``."""
    rng = random.Random(0)
    seeds = [
        synthetic.write_sparse(tmp_path / name, name).read_bytes()
        for name in ("embedding-a1111", "embedding-sdxl")
    ]
    seeds += [header_of(tmp_path, name) for name in ("motion-lcm", "taesd-decoder", "ia3")]
    path = tmp_path / "x"
    path.touch()
    for _ in range(3000):
        overwrite(path, mutated(rng.choice(seeds), rng))
        began = time.process_time()
        assert_named_or_refused(path)
        assert time.process_time() - began < 1.0


def assert_named_or_refused(path: Path) -> None:
    try:
        sentence = inspect(path).title
    except FileError as error:
        sentence = str(error)
    assert sentence
    assert "\n" not in sentence


def header_of(folder: Path, name: str) -> bytes:
    """A file of the same names whose tensors are all empty, so that it is small."""
    shapes = dict(list(synthetic.shapes_of(name).items())[:40])
    specs = {key: ("F16", (*shape[:-1], 0)) for key, shape in shapes.items()}
    return synthetic.write_header(folder / name, specs, {"a": "b"}).read_bytes()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.text(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
            max_leaves=8,
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_json_for_a_header_is_named_or_refused(tmp_path: Path, table: dict[str, Any]) -> None:
    path = raw(tmp_path / "x", json.dumps(table).encode())
    assert_named_or_refused(path)
