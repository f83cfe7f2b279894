"""What a worker makes with tiny models: the bits of the animator, from a bounded pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animatediff.apps.server.working.making import AnimationMaker, Needed, bytes_of
from animatediff.apps.server.working.pool import Pool
from animatediff.apps.server.working.worker import Made, Step, WorkerSettings
from animatediff.errors import Cancelled, InputError, MemoryLimitError
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video, read_metadata

RUNTIME = Runtime(device="cpu", precision="fp32")


def request(world: Path, motion: Path, **fields: Any) -> AnimationRequest:
    plain: dict[str, Any] = {"num_frames": 2, "steps": 2, "width": 32, "height": 32, "seed": 3}
    return AnimationRequest(
        "a fox", model=str(world), motion=str(motion), precision="fp32", **{**plain, **fields}
    ).validated()


def maker(most: int = 1 << 30) -> AnimationMaker:
    return AnimationMaker(RUNTIME, Pool(most=most, size_of=bytes_of))


def make(maker: AnimationMaker, asked: AnimationRequest, **more: Any) -> Made:
    steps: list[Step] = []
    plain: dict[str, Any] = {
        "path_of": lambda digest: digest,
        "on_step": steps.append,
        "should_stop": lambda: False,
    }
    return maker.make(asked.as_table(), **{**plain, **more})


def frames_of(made: Made, folder: Path) -> np.ndarray:
    ((path, media_type),) = made.write("apng", lambda suffix: folder / f"made{suffix}")
    assert media_type == "image/png"
    return Video.load(path).frames


def test_a_job_gives_the_bits_of_the_animator(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    asked = request(tiny_world, tiny_motion)
    own = Animator.for_request(asked, runtime=RUNTIME).animate(asked)
    served = maker()
    first = make(served, asked)
    make(served, request(tiny_world, Path("none"), num_frames=1))
    again = make(served, asked)
    assert np.array_equal(frames_of(first, tmp_path), own.frames)
    assert np.array_equal(frames_of(again, tmp_path), own.frames)
    assert first.resolved == own.request.as_table()
    assert first.thumbnail.startswith(b"\xff\xd8")
    assert len(served.models) == 2


def test_models_of_other_weights_are_not_shared(tiny_world: Path, tiny_motion: Path) -> None:
    loaded = Loaded.of(request(tiny_world, tiny_motion))
    plain, small = Needed(loaded, "torch.float32"), Needed(loaded, "torch.float32", "int8")
    assert plain.serves(plain)
    assert small.serves(small)
    assert not plain.serves(small)
    assert not small.serves(plain)


def test_a_maker_runs_as_its_worker_is_set_up(tmp_path: Path) -> None:
    settings = WorkerSettings(str(tmp_path), "w", device="cpu", compile=True)
    again = WorkerSettings.from_json(settings.to_json())
    assert AnimationMaker.of(again).runtime == Runtime(device="cpu", compile=True)
    with pytest.raises(InputError, match="--memory low keeps weights"):
        AnimationMaker.of(replace(settings, compile=False, memory="low"))


def test_models_stay_loaded_and_the_least_recently_used_leaves(
    tiny_world: Path, tiny_motion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = Animator.for_request.__func__  # pyright: ignore[reportFunctionMemberAccess]

    def counted(cls: type[Animator], asked: AnimationRequest, **more: Any) -> Animator:
        loads.append(str(asked.motion)[-4:])
        return load(cls, asked, **more)

    monkeypatch.setattr(Animator, "for_request", classmethod(counted))
    moving, still = request(tiny_world, tiny_motion), request(tiny_world, Path("none"))
    roomy = maker()
    for asked in (moving, still, moving, still):
        make(roomy, asked)
    assert len(loads) == 2
    (size,) = [held.size for held in roomy.pool.held][:1]
    loads.clear()
    tight = maker(most=int(1.2 * size))
    for asked in (moving, still, moving):
        make(tight, asked)
    assert len(loads) == 3
    assert len(tight.pool.held) == 1


def test_another_model_leaves_when_memory_runs_out(
    tiny_world: Path, tiny_motion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = maker()
    make(served, request(tiny_world, Path("none")))
    animate, failed = Animator.animate, []

    def once(self: Animator, *arguments: Any, **more: Any) -> Any:
        if not failed:
            failed.append(1)
            raise MemoryLimitError("It needs more.")
        return animate(self, *arguments, **more)

    monkeypatch.setattr(Animator, "animate", once)
    made = make(served, request(tiny_world, tiny_motion))
    assert "dropped to make room" in made.notes[-1]
    assert len(served.pool.held) == 1
    failed.clear()
    with pytest.raises(MemoryLimitError):
        make(served, request(tiny_world, tiny_motion))


def test_it_stops_between_two_steps(tiny_world: Path, tiny_motion: Path) -> None:
    steps: list[Step] = []
    previews: list[bytes] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        if step.preview is not None:
            previews.append(step.preview())

    with pytest.raises(Cancelled):
        make(
            maker(),
            request(tiny_world, tiny_motion, steps=5),
            on_step=on_step,
            should_stop=lambda: any(step.stage == "denoise" and step.step >= 2 for step in steps),
        )
    assert [(step.stage, step.step) for step in steps[-3:]] == [
        ("still", 5),
        ("denoise", 1),
        ("denoise", 2),
    ]
    assert len(previews) == 7
    assert all(preview.startswith(b"\xff\xd8") for preview in previews)


def test_a_file_tells_no_path_of_an_upload(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    place = Video(np.full((1, 32, 32, 3), 99, np.uint8), 8).save(tmp_path / "up.png")
    digest = "ab" * 32
    asked = request(tiny_world, tiny_motion, init=digest, strength=0.5)
    made = make(maker(), asked, path_of=lambda _: str(place))
    assert made.resolved["init"] == digest
    ((path, _),) = made.write("mp4", lambda suffix: tmp_path / f"made{suffix}")
    assert str(place) not in str(read_metadata(path))
    assert load_request(path, check_weights=False).init == digest


def test_png_is_a_file_for_each_frame(tiny_world: Path, tiny_motion: Path, tmp_path: Path) -> None:
    made = make(maker(), request(tiny_world, tiny_motion))
    numbers = iter(range(9))
    written = made.write("png", lambda suffix: tmp_path / f"{next(numbers)}{suffix}")
    assert [media_type for _, media_type in written] == ["image/png", "image/png"]


@pytest.mark.parametrize(
    ("kind", "suffix", "media_type", "codec"),
    [
        ("prores", ".mov", "video/quicktime", "prores"),
        ("ffv1", ".mkv", "video/x-matroska", "ffv1"),
        ("av1", ".mp4", "video/mp4", "libdav1d"),
    ],
)
def test_formats_for_editing_are_written(
    tiny_world: Path,
    tiny_motion: Path,
    tmp_path: Path,
    kind: str,
    suffix: str,
    media_type: str,
    codec: str,
) -> None:
    import av

    made = make(maker(), request(tiny_world, tiny_motion, width=64, height=64, steps=1))
    ((path, found),) = made.write(kind, lambda end: tmp_path / f"made{end}")
    assert (path.suffix, found) == (suffix, media_type)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec
    assert Video.load(path).num_frames == 2


def test_deep_pictures_are_one_archive_of_equal_bytes(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    import zipfile

    made = make(maker(), request(tiny_world, tiny_motion, steps=1))
    numbers = iter(range(99))
    written = [
        made.write("png16", lambda end: tmp_path / f"{next(numbers)}{end}") for _ in range(2)
    ]
    (((path, media_type),), ((again, _),)) = written
    assert media_type == "application/zip"
    assert path.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["frame_0000.png", "frame_0001.png"]
        picture = archive.read("frame_0001.png")
    assert picture[24] == 16, "bits of a channel"
    deep = tmp_path / "deep.png"
    deep.write_bytes(picture)
    assert np.array_equal(Video.load(deep).frames[0], frames_of(made, tmp_path)[1])


def test_a_job_that_is_cancelled_while_its_model_loads_stops_between_networks(
    tiny_world: Path, tiny_motion: Path
) -> None:
    served = maker()
    asked: list[None] = []

    def stop_at(count: int) -> Any:
        asked.clear()

        def should_stop() -> bool:
            asked.append(None)
            return len(asked) == count

        return should_stop

    for count in (1, 2, 3):
        with pytest.raises(Cancelled, match="while the model was loaded"):
            make(served, request(tiny_world, tiny_motion), should_stop=stop_at(count))
        assert len(asked) == count
        assert served.models == ()
    make(served, request(tiny_world, tiny_motion))
    assert len(served.models) == 1


def test_a_stored_request_of_another_version_is_refused(tiny_world: Path) -> None:
    with pytest.raises(InputError, match="version"):
        maker().make(
            {"schema": 99, "prompt": "a fox"},
            path_of=str,
            on_step=lambda _: None,
            should_stop=lambda: False,
        )


@pytest.mark.slow
def test_many_jobs_of_two_models_leave_memory_flat(tiny_world: Path, tiny_motion: Path) -> None:
    def memory() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) // 1024

    served = maker()
    kinds = [request(tiny_world, tiny_motion), request(tiny_world, Path("none"), num_frames=1)]
    for number in range(40):
        make(served, kinds[number % 2])
    before = memory()
    for number in range(400):
        make(served, kinds[number % 2])
    assert memory() - before < 40


@pytest.mark.weights
@pytest.mark.slow
def test_the_built_in_model_is_served(tmp_path: Path) -> None:
    import sys

    from tests.apps.server.served import Served

    assert torch.get_num_threads() >= 1
    command = (sys.executable, "-m", "animatediff.apps.server.working.worker")
    with Served(tmp_path / "real", command=command) as running:
        body = {"request": {"prompt": "a fox", "seed": 1, "steps": 1, "num_frames": 2}}
        job = running.client.post("/api/v1/jobs", json=body).json()
        done = running.ended(job["id"])
        assert done["state"] == "completed", done["error"]
        assert done["resolved"]["model"] == "emoji"
