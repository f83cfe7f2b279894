"""The OpenAPI document, and schemathesis, which sends what it allows and what it does not."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from tests.apps.server.served import Served, limited

from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest

LEFT_OUT = "events$"
"""Streams that end with the client."""


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
KNOWN = {
    "/api/v1/jobs/{name}": ("path.name", "jobs"),
    "/api/v1/uploads/{digest}": ("path.digest", "uploads"),
    "/api/v1/results/{digest}": ("path.digest", "results"),
    "/api/v1/runs/{name}": ("path.name", "runs"),
    "/api/v1/runs/{name}/clips/{clip}": ("path.clip", "clips"),
    "/api/v1/datasets/{name}": ("path.name", "datasets"),
    "/v1/videos/{name}": ("path.name", "jobs"),
}
"""Parameters that are drawn from what there is, most of the time, by the beginning of a path."""


def run_schemathesis(served: Served, folder: Path, *, examples: int, phases: str) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    (folder / "schemathesis.toml").write_text(configured(served))
    ended = subprocess.run(
        [
            program,
            "run",
            f"http://127.0.0.1:{served.port}/api/v1/openapi.json",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={examples}",
            f"--phases={phases}",
            "--exclude-path-regex",
            LEFT_OUT,
            # A file is inspected by a process of its own, which a busy machine takes long to start.
            "--request-timeout=90",
            "--seed=1",
            "--no-color",
            "--continue-on-failure",
            "--generation-database=none",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, f"{ended.stdout[-20000:]}\n{ended.stderr[-2000:]}"
    print(ended.stdout[-1500:])
    assert served.client.get("/healthz").status_code == 200


def configured(served: Served) -> str:
    """Names of jobs, uploads and files that there are, for schemathesis to ask for."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(picture, "PNG")
    upload = served.client.post("/api/v1/uploads", files={"file": picture.getvalue()}).json()
    jobs = [served.submit(f"a fox {'fail' if n % 4 == 3 else ''}")["id"] for n in range(40)]
    jobs += [served.client.post("/v1/videos", json={"prompt": "a hare"}).json()["id"]]
    first = served.ended(jobs[0])
    there = {
        "jobs": jobs,
        "uploads": [upload["hash"]],
        "results": [first["results"][0]["hash"]],
        "runs": ["motion"],
        "clips": ["step-00000040-0.webp"],
        "datasets": ["mine"],
    }
    lines = [f"[dictionaries.{name}]\nvalues = {json.dumps(of)}" for name, of in there.items()]
    for path, (parameter, name) in KNOWN.items():
        bound = [(parameter, name), *([("path.name", "runs")] if name == "clips" else [])]
        lines.append(f"[[operations]]\ninclude-path-regex = '^{re.escape(path)}'")
        lines.append("[operations.parameters]")
        lines += [f'"{key}" = {{ dictionary = "{of}", probability = 0.7 }}' for key, of in bound]
    return "\n".join(lines)


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
    run = tmp_path / "runs" / "motion"
    (run / "clips").mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"step": 20, "loss": 0.5, "rate": 1e-4}\n')
    Image.new("RGB", (16, 16), "teal").save(run / "clips" / "step-00000040-0.webp")
    (tmp_path / "datasets" / "mine").mkdir(parents=True)
    with Served(
        tmp_path / "st",
        limits=limited(queued=100_000, queued_each=100_000),
        runs=tmp_path / "runs",
        datasets=tmp_path / "datasets",
    ) as running:
        run_schemathesis(running, tmp_path, examples=25, phases="examples,coverage,fuzzing")
