"""The Dockerfile and the compose files agree with each other, with the command line and with the tree.

No container is run here: ``docs/guides/containers.md`` says what was.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from animatediff.apps.cli import main
from animatediff.apps.server import serve

ROOT = Path(__file__).parents[1]


def steps(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [
        (line.split()[0], line.partition(" ")[2].strip()) for line in joined.split("\n") if line
    ]


STEPS = steps((ROOT / "Dockerfile").read_text())
LAST = STEPS[max(n for n, (word, _) in enumerate(STEPS) if word == "FROM") :]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["animatediff"]


def said(word: str) -> str:
    """The argument of an instruction that the last stage has once."""
    (found,) = [argument for each, argument in LAST if each == word]
    return found


def mounts() -> dict[str, str]:
    """The mounted folders of the container, and ``ro`` or ``rw`` for each."""
    found = (volume.split(":") for volume in SERVICE["volumes"])
    return {parts[1]: (parts[2:] or ["rw"])[0] for parts in found}


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(said("ENV")))


def test_the_user_is_the_same_everywhere_and_not_root() -> None:
    user, _, group = said("USER").partition(":")
    assert int(user) > 0
    assert SERVICE["user"] == f"{user}:{group}"
    (created,) = [words for word, words in LAST if word == "RUN"]
    assert f"--uid {user} " in created
    # Nothing after it runs as somebody else, and the folders that are written belong to it.
    assert [word for word, _ in LAST].index("USER") > [word for word, _ in LAST].index("RUN")
    assert "install -d -o animatediff -g animatediff /data /models" in created


def test_the_root_is_read_only_and_what_is_written_is_a_volume() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "cap_add", "network_mode", "pid"}.isdisjoint(SERVICE)
    written = [folder for folder, mode in mounts().items() if mode == "rw"]
    assert written == json.loads(said("VOLUME")) == [said("WORKDIR")]
    named = environment()
    assert named["HOME"] in written
    assert any(each.split(":")[0] == named["XDG_CACHE_HOME"] for each in SERVICE["tmpfs"])
    assert mounts()[named["ANIMATEDIFF_MODELS"]] == "ro"
    assert set(COMPOSE["volumes"]) == {"data"}


def test_the_command_is_one_that_the_command_line_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[serve.ServeOptions] = []

    def take(options: serve.ServeOptions) -> int:
        taken.append(options)
        return 0

    monkeypatch.setattr(serve, "serve", take)
    assert json.loads(said("ENTRYPOINT")) == ["animatediff"]
    assert main(json.loads(said("CMD"))) == 0
    (options,) = taken
    assert options.token_file == Path("/run/secrets") / SERVICE["secrets"][0]
    assert SERVICE["secrets"] == list(COMPOSE["secrets"])
    assert options.folder is not None
    assert str(options.folder.parent) in mounts()
    assert options.port == int(said("EXPOSE"))
    # Reached from this machine alone, at the port that is exposed and asked for its health.
    host, _, inside = SERVICE["ports"][0].rpartition(":")
    assert host.startswith("127.0.0.1:")
    assert int(inside) == options.port
    assert f"http://127.0.0.1:{options.port}/healthz" in said("HEALTHCHECK")


def test_all_that_is_copied_is_there_and_in_the_sdist() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    built: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    shipped = built["build"]["targets"]["sdist"]["include"]
    for word, argument in STEPS:
        if word != "COPY" or argument.startswith("--from"):
            continue
        for source in argument.split()[:-1]:
            top = source.split("/")[0]
            assert (ROOT / source).exists()
            assert f"!{top}" in ignored
            assert (
                f"/{top}" in shipped
                or (top.endswith(".md") and "/*.md" in shipped)
                or (
                    top in ("pyproject.toml", "LICENSE", "NOTICE")  # which hatchling adds itself
                )
            )


def test_cuda_changes_what_the_dockerfile_declares() -> None:
    cuda: dict[str, Any] = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())
    assert set(cuda) == {"services"}
    assert set(cuda["services"]) == set(COMPOSE["services"])
    (service,) = cuda["services"].values()
    declared = {argument.partition("=")[0] for word, argument in STEPS if word == "ARG"}
    assert set(service["build"]["args"]) <= declared
    assert service["image"] != SERVICE["image"]
