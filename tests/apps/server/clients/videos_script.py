"""A program for the OpenAI-style video API: create, poll, download, list, delete.

    python videos_script.py http://127.0.0.1:8188/v1 TOKEN [picture]

It sends what the ``openai`` package sends: a form with text fields, a bearer token, and for a picture
the file ``input_reference``. It knows nothing of this package.
"""

import json
import sys
import time
from pathlib import Path

import httpx

if __name__ == "__main__":
    base, token, picture = [*sys.argv[1:], None][:3]
    client = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    form = {"prompt": "A video of a cool cat", "model": "emoji", "seconds": "2", "size": "128x96"}
    files = {name: (None, text) for name, text in form.items()}
    if picture:
        files["input_reference"] = (Path(picture).name, Path(picture).read_bytes(), "image/png")

    created = client.post("/videos", files=files)
    created.raise_for_status()
    video = created.json()
    assert video["object"] == "video"
    assert video["status"] in ("queued", "in_progress")
    seen = [video["progress"]]
    while video["status"] in ("queued", "in_progress"):
        time.sleep(0.05)
        video = client.get(f"/videos/{video['id']}").raise_for_status().json()
        seen.append(video["progress"])
    assert video["status"] == "completed", video["error"]
    assert seen == sorted(seen)

    content = client.get(f"/videos/{video['id']}/content").raise_for_status()
    thumbnail = client.get(f"/videos/{video['id']}/content", params={"variant": "thumbnail"})
    thumbnail.raise_for_status()
    page = client.get("/videos", params={"limit": 1, "order": "desc"}).raise_for_status().json()
    deleted = client.delete(f"/videos/{video['id']}").raise_for_status().json()
    gone = client.get(f"/videos/{video['id']}")
    print(
        json.dumps(
            {
                "video": video,
                "bytes": len(content.content),
                "type": content.headers["content-type"],
                "thumbnail": thumbnail.headers["content-type"],
                "listed": [each["id"] for each in page["data"]],
                "deleted": deleted,
                "gone": [gone.status_code, gone.json()["error"]["type"]],
            }
        )
    )
