"""A worker without a model: it claims jobs as a real one does, and paints a disc that moves."""

from __future__ import annotations

import io
import json
import threading
import time
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from animatediff.apps.server.formats import RESULT_FORMATS
from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import Job, Outcome, ResultFile
from animatediff.apps.server.queue.jobs import JobQueue
from animatediff.apps.server.queue.store import Store
from animatediff.apps.server.settings import Settings
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

SIZE = 64


class Painter:
    """Works through the queue of a service in a thread.

    Attributes:
        step_seconds: how long a denoising step takes; tests make it long to look at a running job.
    """

    def __init__(self, settings: Settings) -> None:
        database = Database(settings.database)
        self.queue = JobQueue(database, endurance=settings.endurance)
        self.store = Store(settings.store, database, quota=settings.limits.store_bytes)
        self.step_seconds = 0.01
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.is_set():
            job = self.queue.claims.take("painter")
            if job is None:
                self._end.wait(0.05)
            else:
                self._paint(job)

    def _paint(self, job: Job) -> None:
        request = AnimationRequest.from_table(dict(job.request))
        steps, frames = request.steps or 8, request.num_frames or 16
        request = replace(request, steps=steps, num_frames=frames, width=SIZE, height=SIZE)
        video = Video(painted(request, blur=0), Fraction(request.rate))
        for step in range(1, steps + 1):
            time.sleep(self.step_seconds)
            if self.queue.claims.beat(job) or self._end.is_set():
                self.queue.claims.stopped(job)
                return
            sheet = Video(painted(request, blur=1 - step / steps), video.fps).contact_sheet()
            self.queue.claims.progress(
                job, stage="denoise", step=step, steps=steps, preview=jpeg(sheet)
            )
        files = tuple(self._written(video, request, name) for name in job.formats)
        table = request.as_table()
        table.pop("schema")
        self.queue.claims.complete(
            job,
            Outcome(files=files, resolved=table, notes=("Painted, not denoised.",)),
            thumbnail=jpeg(Image.fromarray(video.frames[0])),
            suffixes={file.hash: RESULT_FORMATS[file.format].suffix for file in files},
        )

    def _written(self, video: Video, request: AnimationRequest, name: str) -> ResultFile:
        facts = {"animatediff": json.dumps({"request": request.as_table()})}
        with self.store.temporary(RESULT_FORMATS[name].suffix) as path:
            video.save(path, metadata=facts, format=RESULT_FORMATS[name].kind)
            digest, size = self.store.take(path, suffix=RESULT_FORMATS[name].suffix)
        return ResultFile(
            hash=digest,
            format=name,
            media_type=RESULT_FORMATS[name].media_type,
            bytes=size,
            name=f"{digest[:8]}.{name}",
        )


def painted(request: AnimationRequest, *, blur: float) -> Any:
    """A disc whose colour is of the seed and whose place is of the frame."""
    frames = request.num_frames or 16
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    hue = np.array([(request.seed * 37 + 220) % 256, (request.seed * 91 + 90) % 256, 60])
    noise = np.random.default_rng(request.seed).uniform(0, 255, (SIZE, SIZE, 3))
    drawn = np.empty((frames, SIZE, SIZE, 3), np.uint8)
    for frame in range(frames):
        turn = 2 * np.pi * frame / frames
        at = SIZE / 2 + 16 * np.array([np.sin(turn), np.cos(turn)])
        inside = (rows - at[0]) ** 2 + (columns - at[1]) ** 2 < 144
        picture = np.where(inside[..., None], hue, np.array([250, 246, 238]))
        drawn[frame] = (1 - blur) * picture + blur * noise
    return drawn


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
