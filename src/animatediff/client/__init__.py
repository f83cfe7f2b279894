"""A typed client of ``animatediff serve``: queue animations, follow them, fetch the results.

    from animatediff.client import Client

    with Client("http://127.0.0.1:8188") as client:
        job = client.submit("a fox, flat style", settings={"seed": 7})
        done = client.wait(job.id, on_progress=lambda p: print(p.stage, p.step, p.steps))
        client.download(done.results[0], "fox.mp4")

It needs the extra ``client`` and nothing else of this package: neither torch nor a model.
"""

from animatediff.client.client import Client
from animatediff.client.errors import ApiError, JobFailed
from animatediff.client.values import Event, Job, Model, Progress, Result, StoredSettings, Upload

__all__ = [
    "ApiError",
    "Client",
    "Event",
    "Job",
    "JobFailed",
    "Model",
    "Progress",
    "Result",
    "StoredSettings",
    "Upload",
]
