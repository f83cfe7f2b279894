"""``animatediff serve``: its options, and a server that is killed while clients submit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from animatediff.apps.cli import main
from animatediff.apps.options.parsing import parse
from animatediff.apps.server.serve import ServeOptions, bound, read_token, settings_of
from animatediff.apps.server.working.supervisor import (
    Lock,
    check_memory_option,
    devices_of,
)
from animatediff.errors import FileError, InputError


def options(*words: str) -> ServeOptions:
    return parse(ServeOptions, words, command="serve", summary="Serve.")


def test_any_address_but_loopback_needs_a_token(tmp_path: Path) -> None:
    for address in ("0.0.0.0", "::", "192.168.1.5", "render.example"):
        with pytest.raises(InputError, match="needs a token"):
            settings_of(options("--address", address), environment={})
        settings = settings_of(
            options("--address", address), environment={"ANIMATEDIFF_TOKEN": "x" * 32}
        )
        assert settings.token == "x" * 32
    assert settings_of(options(), environment={}).token == ""


def test_a_token_is_read_from_a_file_and_must_be_long(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-long-random-token\n")
    assert read_token(path, environment={}) == "a-long-random-token"
    for bad in ("short", "", "with a\nnewline in the middle", "é" * 30):
        path.write_text(bad)
        with pytest.raises(InputError, match="token"):
            read_token(path, environment={})
    with pytest.raises(FileError, match="cannot be read"):
        read_token(tmp_path / "none", environment={})


def test_the_token_is_in_no_repr() -> None:
    settings = settings_of(options(), environment={"ANIMATEDIFF_TOKEN": "x" * 32})
    assert "x" * 32 not in repr(settings)


@pytest.mark.parametrize(
    "words", [("--port", "70000"), ("--quota", "0"), ("--rate", "-1"), ("--threads", "0")]
)
def test_options_out_of_range_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="out of range"):
        settings_of(options(*words), environment={})


def test_devices_are_counted_without_torch() -> None:
    assert devices_of("auto", environment={"CUDA_VISIBLE_DEVICES": "0,1,2"}) == (
        "cuda:0",
        "cuda:1",
        "cuda:2",
    )
    assert devices_of("auto", environment={"CUDA_VISIBLE_DEVICES": ""}) == ("auto",)
    assert devices_of("cpu, cuda:1") == ("cpu", "cuda:1")
    with pytest.raises(InputError, match="names none"):
        devices_of(",")


def test_low_memory_is_for_gpus() -> None:
    check_memory_option(["cuda:0", "cuda:1"], memory="low", compiled=False)
    check_memory_option(["cpu"], memory="full", compiled=True)
    with pytest.raises(InputError, match="name GPUs with --devices"):
        check_memory_option(["cuda:0", "cpu"], memory="low", compiled=False)
    with pytest.raises(InputError, match="leave out --compile or --memory low"):
        check_memory_option(["cuda:0"], memory="low", compiled=True)


def test_a_taken_port_and_a_taken_folder_are_sentences(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as taken, pytest.raises(InputError, match="--port"):
        bound("127.0.0.1", taken.getsockname()[1])
    lock = Lock(tmp_path / "folder")
    with pytest.raises(InputError, match="Another server"):
        Lock(tmp_path / "folder")
    lock.close()
    Lock(tmp_path / "folder").close()


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--token-file" in shown
    assert main(["serve", "--address", "0.0.0.0"]) == 2
    assert "token" in capsys.readouterr().err


class Command:
    """``animatediff serve`` as its own process."""

    def __init__(self, folder: Path) -> None:
        words = ["serve", "--folder", str(folder), "--port", "0", "--rate", "100000"]
        words += ["--most-queued", "100000", "--most-queued-each", "100000"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "animatediff", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "ANIMATEDIFF_TOKEN": ""},
        )
        assert self.process.stdout is not None
        found = re.search(r"http://[\d.:]+", self.process.stdout.readline())
        assert found is not None
        self.url = found[0]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_a_server_killed_in_a_storm_keeps_every_job_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    server = Command(tmp_path)
    httpx.patch(f"{server.url}/api/v1/queue", json={"paused": True}, timeout=30)
    enough = threading.Event()

    def storm() -> None:
        body = {"request": {"prompt": "a fox", "seed": 1}}
        try:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while True:
                    answer = client.post("/api/v1/jobs", json=body)
                    assert answer.status_code == 202
                    acknowledged.append(answer.json()["id"])
                    if len(acknowledged) > 40:
                        enough.set()
        except httpx.HTTPError:
            return

    threads = [threading.Thread(target=storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    server.end(signal.SIGKILL)
    for thread in threads:
        thread.join(30)
    again = Command(tmp_path)
    try:
        with httpx.Client(base_url=again.url, timeout=30) as client:
            assert client.get("/api/v1/queue").json()["paused"] is True
            for name in acknowledged:
                assert client.get(f"/api/v1/jobs/{name}").json()["state"] == "queued"
    finally:
        assert again.end(signal.SIGINT) == 0
