"""What ``animate`` tells while it works: what was chosen, what a LoRA covers, what was not done."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from animatediff.apps.destination import plan_destination
from animatediff.apps.render import _watch, render
from animatediff.errors import MemoryLimitError
from animatediff.runtime import Runtime
from animatediff.sampling.animation import Progress as Step
from animatediff.sampling.loaded import free_memory
from animatediff.sampling.request import AnimationRequest
from animatediff.video import FORMATS, Video


class Listener:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Nothing is drawn here."""

    def at(self, step: int) -> None:
        """Nor here."""

    def tell(self, kind: str, text: str, facts: object) -> None:
        self.told.append(text)


def test_choices_and_coverage_are_told_once(
    tiny_world: Path, tiny_motion: Path, tiny_lora: Path, tmp_path: Path
) -> None:
    requests = [
        AnimationRequest(
            prompt="a fox",
            model=str(tiny_world),
            motion=str(tiny_motion),
            loras=(f"{tiny_lora}:0.5",),
            num_frames=3,
            steps=1,
            seed=seed,
        )
        for seed in (3, 4)
    ]
    destination = plan_destination(
        tmp_path / "x.gif", formats=None, known=FORMATS, name="x", labels=["", "3", "4"]
    )
    listener = Listener()
    render(
        requests,
        destination=destination,
        runtime=Runtime(device="cpu"),
        progress=listener,
        preview=None,
    )
    assert (
        "seed 3: 3 frames of 32x32 at 8 a second from a still (strength 0.9), carried (speed 1), "
        "1 step of unipc, guidance 3" in listener.told
    )
    assert listener.told[0] == (
        f"motion {tiny_motion.name}: the built-in motion module; "
        "the image model normalises each frame alone"
    )
    coverage = [text for text in listener.told if text.startswith("LoRA style: ")]
    assert len(coverage) == 1
    have, of = coverage[0].removeprefix("LoRA style: ").removesuffix(" modules").split("/")
    assert int(have) == int(of) > 0
    assert len(Video.load(tmp_path / "x-3.gif").frames) == 3


def test_what_cannot_fit_into_memory_is_refused_before_anything_is_drawn(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = AnimationRequest(
        prompt="a fox", model=str(tiny_world), motion=str(tiny_motion), num_frames=2, steps=1
    )
    destination = plan_destination(
        tmp_path / "x.gif", formats=None, known=FORMATS, name="x", labels=[""]
    )
    monkeypatch.setattr(free_memory, "free_memory", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match=r"GiB beside what is loaded.*fewer frames"):
        render(
            [request],
            destination=destination,
            runtime=Runtime(device="cpu"),
            progress=Listener(),
            preview=None,
        )
    assert not list(tmp_path.iterdir())


def test_a_preview_that_cannot_be_written_any_more_is_a_warning(tmp_path: Path) -> None:
    shown: list[int] = []

    def preview_at(step: int) -> Step:
        def sheet() -> Image.Image:
            shown.append(step)
            return Image.new("RGB", (8, 8))

        return Step("denoise", step, 12, sheet)

    listener = Listener()
    folder = tmp_path / "there"
    folder.mkdir()
    watch = _watch(listener, folder / "p.png")
    for step in (1, 2, 5):
        watch(preview_at(step))
    assert (folder / "p.png").is_file()
    (folder / "p.png").unlink()
    folder.rmdir()
    for step in (6, 10, 12):
        watch(preview_at(step))
    assert shown == [1, 5, 10]
    assert len(listener.told) == 1
    assert "cannot be written (no such file or directory)" in listener.told[0]


def test_frames_that_no_step_denoises_have_a_preview_too(tmp_path: Path) -> None:
    preview = tmp_path / "p.png"
    watch = _watch(Listener(), preview)
    watch(Step("decode", 2, 4, lambda: Image.new("RGB", (8, 8))))
    assert not preview.exists()
    watch(Step("decode", 4, 4, lambda: Image.new("RGB", (8, 8))))
    assert preview.is_file()
