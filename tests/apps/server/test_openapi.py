"""The OpenAPI document, and schemathesis, which sends what it allows and what it does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from tests.apps.server.served import Served, limited

from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest

LEFT_OUT = "events$"
"""Streams that end with the client."""


def run_schemathesis(served: Served, folder: Path, *, examples: int, phases: str) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    ended = subprocess.run(
        [
            program,
            "run",
            f"http://127.0.0.1:{served.port}/api/v1/openapi.json",
            "--checks=not_a_server_error",
            f"--max-examples={examples}",
            f"--phases={phases}",
            "--exclude-path-regex",
            LEFT_OUT,
            "--request-timeout=30",
            "--seed=1",
            "--no-color",
            "--continue-on-failure",
            "--generation-database=none",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, f"{ended.stdout[-6000:]}\n{ended.stderr[-2000:]}"
    assert served.client.get("/healthz").status_code == 200


def test_the_document_describes_the_options(served: Served) -> None:
    document = served.client.get("/api/v1/openapi.json").json()
    request = document["components"]["schemas"]["AnimationRequest"]
    assert set(request["properties"]) == {row.field for row in declared(AnimationRequest)}
    jsonschema.Draft202012Validator.check_schema(request)
    jsonschema.validate({"prompt": "a fox", "steps": 3, "seed": -1}, request)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"prompt": "a fox", "steps": 0}, request)
    routes = set(document["paths"])
    assert {"/api/v1/jobs", "/v1/videos", "/sdapi/v1/txt2img", "/sdapi/v1/png-info"} <= routes


@pytest.mark.slow
def test_no_request_that_schemathesis_thinks_of_is_a_server_error(tmp_path: Path) -> None:
    with Served(tmp_path / "st", limits=limited(queued=100_000, queued_each=100_000)) as running:
        run_schemathesis(running, tmp_path, examples=50, phases="examples,coverage,fuzzing")
