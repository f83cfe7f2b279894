"""Building shards: what is learned from is what was asked for, once, also after a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from animatediff.data.builds.read import BUILD, BuiltClip, read_built
from animatediff.data.builds.samples import BuildOptions, Encoder
from animatediff.data.builds.write import build_shards
from animatediff.data.checking.clip_facts import MARKED_ABOVE
from animatediff.data.checking.facts_cache import CACHE_FILE, read_facts_cache
from animatediff.data.decoding.frames import decode
from animatediff.data.layouts.detect import list_clips
from animatediff.errors import FileError, InputError, OutputError

WriteClip = Callable[..., Path]
OPTIONS = BuildOptions(size=(32, 32), fps=Fraction(12), frames=8, longest=12)


def drift(seed: int, count: int, *, step: int = 2) -> np.ndarray:
    """A coarse random picture that drifts by some px a frame."""
    draw = np.random.default_rng(seed)
    wide = np.kron(draw.integers(0, 256, (6, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([wide[:, step * i : step * i + 64] for i in range(count)])


@pytest.fixture
def dataset(tmp_path: Path, write_clip: WriteClip) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    for index in range(5):
        write_clip(folder / f"clip {index}.mp4", drift(index, 24))
        (folder / f"clip {index}.txt").write_text(
            f"clip {index} going left"[: 6 + 11 * (index % 2)]
        )
    write_clip(folder / "scenes.mp4", np.concatenate([drift(7, 24), drift(8, 60), drift(9, 6)]))
    write_clip(folder / "static.mp4", np.repeat(drift(6, 1), 24, axis=0))
    shutil.copy(folder / "clip 0.mp4", folder / "copy.mp4")
    (folder / "copy.txt").write_text((folder / "clip 0.txt").read_text())
    return folder


def encoder(calls: list[int] | None = None, *, name: str = "test") -> Encoder:
    """Means of blocks, in place of an autoencoder; the caption's letters, in place of CLIP."""

    def frames(pictures: np.ndarray) -> Mapping[str, Tensor]:
        if calls is not None:
            calls.append(len(pictures))
        blocks = (
            torch.from_numpy(pictures.astype(np.float32)).unflatten(1, (4, 8)).unflatten(3, (4, 8))
        )
        return {"latents": blocks.mean((2, 4)).half()}

    return Encoder(name, frames, lambda text: {"text": torch.tensor([ord(c) for c in text])})


def contents(clips: tuple[BuiltClip, ...]) -> dict[str, tuple[object, ...]]:
    return {
        clip.key: (
            clip.facts["caption"],
            clip.facts["clip"],
            clip.tensors()["latents"].numpy().tobytes(),
            decode(clip.media).frames.tobytes() if clip.media else None,
        )
        for clip in clips
    }


def test_samples_are_cut_resampled_encoded_and_named(dataset: Path, tmp_path: Path) -> None:
    report = build_shards(
        list_clips(dataset), tmp_path / "out", OPTIONS, encoder=encoder(), per_shard=4, workers=2
    )
    clips = read_built(tmp_path / "out")
    assert report.left_out == {"static": 1, "short": 1, "the same as another": 1}
    assert (report.samples, report.made, report.dropped, report.bad) == (9, 9, 0, {})
    assert len(clips) == 9
    assert report.shards == len(list((tmp_path / "out").glob("*.tar"))) == 3
    scenes = sorted(
        (c.facts["start"], c.facts["frames"]) for c in clips if c.facts["clip"] == "scenes"
    )
    # 1 s, then 2.5 s in three parts of ten frames; a quarter of a second is too short.
    assert scenes == [(0.0, 12), (1.0, 10), (1.8333, 10), (2.6667, 10)]
    for clip in clips:
        facts, tensors = clip.facts, clip.tensors()
        assert clip.media is not None
        source = next(e for e in list_clips(dataset).entries if e.key == facts["clip"])
        wanted = decode(
            source.media,
            fps=Fraction(12),
            start=facts["start"],
            count=facts["frames"],
            size=(32, 32),
        ).frames
        video = decode(clip.media)
        assert video.fps == 12
        assert np.array_equal(video.frames, wanted)
        assert torch.equal(tensors["latents"], encoder().frames(wanted)["latents"])
        assert "".join(map(chr, tensors["text"].tolist())) == facts["caption"] == source.text
        assert facts["may_mirror"] == ("left" not in facts["caption"])
    # A build is itself a data set.
    assert {e.caption for e in list_clips(tmp_path / "out").entries} == {
        c.facts["caption"] for c in clips
    }


def test_only_what_is_new_is_made_and_what_is_gone_goes(dataset: Path, tmp_path: Path) -> None:
    out, calls = tmp_path / "out", list[int]()
    build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder(calls), per_shard=4)
    first = contents(read_built(out))
    assert len(calls) == 9
    again = build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder(calls), per_shard=4)
    assert (again.made, again.samples, len(calls)) == (0, 9, 9)
    (dataset / "clip 3.mp4").unlink()
    (dataset / "clip 4.txt").write_text("a better caption")
    changed = build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder(calls), per_shard=4)
    assert (changed.made, changed.dropped, changed.samples, len(calls)) == (1, 2, 8, 10)
    captions = {clip.facts["caption"] for clip in read_built(out)}
    assert "a better caption" in captions
    assert not any("clip 3" in caption for caption in captions)
    kept = contents(read_built(out))
    assert sum(first.get(key) == value for key, value in kept.items()) == 7


def test_a_build_that_was_stopped_goes_on(dataset: Path, tmp_path: Path) -> None:
    calls = list[int]()
    plain = encoder(calls)

    def frames(pictures: np.ndarray) -> Mapping[str, Tensor]:
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain.frames(pictures)

    listing, out = list_clips(dataset), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_shards(listing, out, OPTIONS, encoder=replace(plain, frames=frames), per_shard=2)
    assert len(read_built(out)) == 4
    with (out / CACHE_FILE).open("a") as journal:
        journal.write('{"clip": "torn')
    report = build_shards(listing, out, OPTIONS, encoder=plain, per_shard=2)
    assert (report.made, len(calls)) == (5, 10)
    build_shards(listing, tmp_path / "whole", OPTIONS, encoder=plain, per_shard=4)
    assert contents(read_built(out)) == contents(read_built(tmp_path / "whole"))


@pytest.mark.slow
def test_a_build_that_was_killed_goes_on(dataset: Path, tmp_path: Path) -> None:
    build_shards(
        list_clips(dataset), tmp_path / "whole", OPTIONS, encoder=encoder(), per_shard=2, workers=2
    )
    script = textwrap.dedent(f"""
        import importlib.util, os, signal, sys
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("test_build", {str(Path(__file__))!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        calls = []
        plain = module.encoder(calls)
        def frames(pictures):
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain.frames(pictures)
        module.build_shards(
            module.list_clips(Path({str(dataset)!r})), Path({str(tmp_path / "out")!r}),
            module.OPTIONS, encoder=module.Encoder("test", frames, plain.text), per_shard=2,
            workers=2,
        )
    """)
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert len(read_built(tmp_path / "out")) == 4
    calls = list[int]()
    report = build_shards(
        list_clips(dataset), tmp_path / "out", OPTIONS, encoder=encoder(calls), per_shard=2
    )
    assert (report.made, len(calls)) == (5, 5)
    assert contents(read_built(tmp_path / "out")) == contents(read_built(tmp_path / "whole"))


def test_other_options_need_another_folder(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder())
    for options, coder, words in (
        (replace(OPTIONS, size=(16, 16)), encoder(), r"size = \[32, 32\], not \[16, 16\]"),
        (OPTIONS, encoder(name="other"), "encoder = test, not other"),
        (OPTIONS, None, "encoder = test, not None"),
    ):
        with pytest.raises(InputError, match=words):
            build_shards(list_clips(dataset), out, options, encoder=coder)
    build_shards(list_clips(dataset), out, replace(OPTIONS, max_bad=0.5), encoder=encoder())
    with pytest.raises(InputError, match="nothing to build"):
        build_shards(list_clips(dataset), tmp_path / "x", replace(OPTIONS, pixels=False))
    (out / BUILD).unlink()
    with pytest.raises(InputError, match="shards of something else"):
        build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder())


def test_clips_are_chosen_by_their_motion_and_overlays(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    clips = {
        "slow": drift(1, 48, step=1),
        "quick": drift(2, 48),
        "marked": drift(3, 48),
    }
    # Thin bars across the middle, as the strokes of letters are.
    clips["marked"][:, 16:30, 8:56:6] = clips["marked"][:, 16:30, 9:56:6] = 255
    for name, frames in clips.items():
        write_clip(folder / f"{name}.mp4", frames)
        (folder / f"{name}.txt").write_text(name)

    def left(name: str, options: BuildOptions) -> tuple[set[str], Mapping[str, int]]:
        out = tmp_path / name
        report = build_shards(list_clips(folder), out, options)
        return {str(clip.facts["clip"]) for clip in read_built(out)}, report.left_out

    assert left("all", OPTIONS) == ({"slow", "quick", "marked"}, {})
    motion = {
        key: facts.motion for key, facts in read_facts_cache(tmp_path / "all" / CACHE_FILE).items()
    }
    slow, *quick = sorted(motion.values())
    assert quick[0] > 1.5 * slow
    found = left("moving", replace(OPTIONS, least_motion=1.5 * slow))
    assert found == ({"quick", "marked"}, {"too little motion": 1})
    found = left("calm", replace(OPTIONS, most_motion=1.5 * slow))
    assert found == ({"slow"}, {"too much motion": 2})
    found = left("clean", replace(OPTIONS, most_overlay=MARKED_ABOVE))
    assert found == ({"slow", "quick"}, {"overlay": 1})
    # Options that came later do not change what a build of the others is.
    assert (
        not {"least_motion", "most_motion", "most_overlay"}
        & json.loads((tmp_path / "all" / BUILD).read_text()).keys()
    )
    with pytest.raises(InputError, match=r"built with least_motion = .*, not None"):
        build_shards(list_clips(folder), tmp_path / "moving", OPTIONS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"least_motion": -0.1}, "from 0"),
        ({"least_motion": 0.5, "most_motion": 0.1}, "at least 0.5 and at most 0.1"),
        ({"most_overlay": 1.5}, "not a share of the picture"),
    ],
)
def test_bounds_that_no_clip_can_meet_are_refused(wrong: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(OPTIONS, **wrong)


def test_bad_clips_are_set_aside_or_stop_the_build(
    dataset: Path, tmp_path: Path, bad_files: dict[str, Path]
) -> None:
    shutil.copy(bad_files["cut short.mp4"], dataset)
    options = replace(OPTIONS, max_bad=0.12)
    report = build_shards(list_clips(dataset), tmp_path / "out", options, encoder=encoder())
    assert list(report.bad) == ["cut short"]
    assert report.samples == 9
    assert "cut short" in (tmp_path / "out" / "quarantine.jsonl").read_text()
    for path in bad_files.values():
        shutil.copy(path, dataset)
    with pytest.raises(FileError, match=r"of 23 clips are bad, and at most 12% may be: .*\.$"):
        build_shards(list_clips(dataset), tmp_path / "out", options, encoder=encoder())


def test_a_full_disk_leaves_whole_shards(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = tmp_path / "out", Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == "00002.tar":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match="no space left"):
            build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder(), per_shard=2)
    assert len(read_built(out)) == 4
    assert not list(out.glob(".*"))
    report = build_shards(list_clips(dataset), out, OPTIONS, encoder=encoder(), per_shard=2)
    assert (report.made, report.samples) == (5, 9)


def test_pictures_are_samples_of_one_frame(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "dog"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(drift(index, 1)[0]).save(folder / f"a dog {index}.png")
    options = replace(OPTIONS, frames=1, longest=1)
    report = build_shards(list_clips(folder), tmp_path / "out", options)
    assert report.samples == 3
    clips = read_built(tmp_path / "out")
    assert [clip.facts["frames"] for clip in clips] == [1, 1, 1]
    with pytest.raises(FileError, match="without a model"):
        clips[0].tensors()
