"""Runs a service, calls most of its API, and prints what was opened and connected to."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

connected: set[str] = set()
written: set[str] = set()


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        connected.add(str(address[0] if isinstance(address, tuple) else address))
    elif event == "socket.getaddrinfo":
        connected.add(str(arguments[0]))
    elif event == "open":
        path, mode, flags = arguments
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        if (writes or (mode is None and isinstance(flags, int) and flags & 3)) and isinstance(
            path, str
        ):
            written.add(path)


def main() -> None:
    from tests.apps.server.served import Served

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        sys.addaudithook(hook)
        with Served(root / "served") as running:
            job = running.submit("a fox", formats=["mp4", "gif"])
            done = running.ended(job["id"])
            client = running.client
            client.get(done["results"][0]["url"])
            client.get(f"/api/v1/jobs/{job['id']}/events")
            for path in ("/", "/metrics", "/api/v1/models", "/api/v1/options", "/api/v1/jobs"):
                client.get(path)
            png = bytes.fromhex(
                "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
                "53de0000000c49444154789c63f8cfc000000301010018dd8db00000000049454e44ae426082"
            )
            client.post("/api/v1/uploads", files={"file": ("a.png", png)})
            client.post("/api/v1/settings", files={"file": ("a.png", png)})
            for place in ("http://192.0.2.1/model.safetensors", "/etc/passwd", "\\\\192.0.2.1\\x"):
                client.post("/api/v1/jobs", json={"request": {"prompt": "a", "model": place}})
                client.post(
                    "/v1/videos", json={"prompt": "a", "image_reference": {"image_url": place}}
                )
                client.post("/sdapi/v1/img2img", json={"prompt": "a", "init_images": [place]})
        outside = sorted(
            p for p in written if not Path(p).is_relative_to(root) and p != "/dev/null"
        )
    print(json.dumps({"connected": sorted(connected), "outside": outside}))


if __name__ == "__main__":
    main()
