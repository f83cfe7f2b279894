"""The built-in upscaler beside bicubic, and interpolated frames beside blended ones, on held-out art.

    python benchmarks/finishing.py upscaler --work build/emoji --weights upscaler.safetensors
    python benchmarks/finishing.py interpolation --work build/emoji

``upscaler``: vector drawings of held-out concepts pass through the autoencoder at 128 px and are
enlarged to 512 px; PSNR against the drawing rendered at 512 px. Real held-out clips pass through the
autoencoder frame by frame; flicker of the enlarged frames is the mean absolute change between
neighbours where the clip itself does not change, and the warp error is the change that is left after
optical flow.

``interpolation``: every second frame of real held-out clips is removed and drawn again; PSNR over the
pixels that differ between the neighbours, the only ones where methods differ.

Each writes ``results/finishing/NAME.json`` with its command.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8

from animatediff.data.shards import on_white, read_shards
from animatediff.evaluation.intervals import mean_of
from animatediff.evaluation.motion_metrics import flow_between
from animatediff.finishing.interpolation import InterpolationMethod, interpolated
from animatediff.finishing.upscaling import upscaled
from animatediff.video import Video
from animatediff.weights.upscalers import read_upscaler
from animatediff.world.stages.folder import read_autoencoder
from animatediff.world.stages.upscaler import SCALE, as_frames, drawings

Frames = UInt8[np.ndarray, "frames height width 3"]
RESULTS = Path("results/finishing")
HELD_OUT = ("val", "test")


def psnr(first: Frames, second: Frames, *, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, at most 100."""
    squared = (first.astype(np.float64) - second.astype(np.float64)) ** 2
    error = squared[where].mean() if where is not None else squared.mean()
    return min(100.0, 10 * math.log10(255**2 / max(error, 1e-10)))


def bicubic(frames: Frames) -> Frames:
    """Enlarged by bicubic interpolation."""
    pictures = rearrange(torch.from_numpy(frames.copy()), "f h w c -> f c h w").float()
    larger = torch.nn.functional.interpolate(pictures, scale_factor=SCALE, mode="bicubic")
    bytes_ = larger.clamp(0, 255).round().byte()
    return rearrange(bytes_, "f c h w -> f h w c").numpy()


def held_out_clips(work: Path, count: int) -> Iterator[Frames]:
    """Real clips of concepts that nothing was trained on, on white."""
    found = 0
    for sample in read_shards(work / "clips"):
        if sample.meta["split"] in HELD_OUT and found < count:
            found += 1
            yield on_white(sample.frames())


def change_where_still(frames: Frames, original: Frames) -> float:
    """The mean absolute change between neighbours where the original does not change, of 255."""
    still = (np.diff(original.astype(np.int16), axis=0) == 0).all(-1)
    still = still.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(-1)
    inked = (frames[:-1] < 250).any(-1)
    return float(change[still & inked].mean()) if (still & inked).any() else 0.0


def warp_error(frames: Frames, guide: Frames) -> float:
    """The mean absolute change that is left after undoing the guide's optical flow, of 255."""
    import cv2

    height, width = frames.shape[1:3]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    errors: list[float] = []
    for i in range(len(frames) - 1):
        flow = flow_between(guide[i], guide[i + 1])
        back = cv2.remap(frames[i + 1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        inked = (frames[i] < 250).any(-1)
        if inked.any():
            errors.append(float(np.abs(back.astype(np.float32) - frames[i])[inked].mean()))
    return float(np.mean(errors)) if errors else 0.0


def upscaler_report(work: Path, *, weights: Path, stills: int, clips: int) -> dict[str, Any]:
    """PSNR on drawings and flicker on clips, of the network and of bicubic."""
    upscaler = read_upscaler(weights)
    autoencoder = read_autoencoder(work)

    def network(frames: Frames) -> Frames:
        return upscaled(Video(frames, Fraction(8)), SCALE, upscaler=upscaler).frames

    large, small = drawings(work / "packages", count=stills, seed=1, splits=HELD_OUT)
    seen = as_frames(autoencoder, small, seed=1)
    ways: dict[str, Callable[[Frames], Frames]] = {"network": network, "bicubic": bicubic}
    rows: dict[str, dict[str, list[float]]] = {
        way: {"psnr": [], "change where still": [], "warp error": []} for way in ways
    }
    for way, enlarge in ways.items():
        for picture, truth in zip(enlarge(seen), large, strict=True):
            rows[way]["psnr"].append(psnr(picture[None], truth[None]))
    for clip in held_out_clips(work, clips):
        restored = without_noise(autoencoder, clip)
        guide = bicubic(restored)
        for way, enlarge in ways.items():
            frames = enlarge(restored)
            rows[way]["change where still"].append(change_where_still(frames, clip))
            rows[way]["warp error"].append(warp_error(frames, guide))
    report: dict[str, Any] = {
        way: {name: summary(values) for name, values in measured.items()}
        for way, measured in rows.items()
    }
    for name in rows["network"]:
        pairs = zip(rows["network"][name], rows["bicubic"][name], strict=True)
        report[f"network minus bicubic: {name}"] = summary([a - b for a, b in pairs])
    return report


def without_noise(autoencoder: Any, clip: Frames) -> Frames:
    """A clip as the autoencoder gives it back."""
    from animatediff.model.latent_space import picture_of, posterior_of

    with torch.inference_mode():
        pixels = rearrange(torch.from_numpy(clip.copy()), "f h w c -> f c h w").float() / 127.5 - 1
        seen = picture_of(autoencoder, posterior_of(autoencoder, pixels).mean)
        bytes_ = ((seen.clamp(-1, 1) + 1) * 127.5).round().byte()
    return rearrange(bytes_, "f c h w -> f h w c").numpy()


def interpolation_report(work: Path, *, clips: int, strides: tuple[int, ...]) -> dict[str, Any]:
    """PSNR of frames that were removed and drawn again, by method."""
    methods: tuple[InterpolationMethod, ...] = ("flow", "blend", "repeat")
    report: dict[str, Any] = {}
    for stride in strides:
        found: dict[str, list[float]] = {method: [] for method in methods}
        for clip in held_out_clips(work, clips):
            frames = clip[::stride]
            frames = frames[: (len(frames) - 1) // 2 * 2 + 1]
            if len(frames) < 3:
                continue
            moves = (frames[:-2:2] != frames[2::2]).any(-1)
            if not moves.any():
                continue
            truth = frames[1::2]
            for method in methods:
                drawn = interpolated(Video(frames[::2], Fraction(8)), 2, method=method)
                found[method].append(psnr(drawn.frames[1::2], truth, where=moves))
        gains = [a - b for a, b in zip(found["flow"], found["blend"], strict=True)]
        report[f"every {2 * stride} frames"] = {
            **{method: summary(values) for method, values in found.items()},
            "flow minus blend": summary(gains),
            "clips on which flow is better": sum(gain > 0 for gain in gains),
        }
    return report


def summary(values: list[float]) -> dict[str, Any]:
    """Mean with its 95 % interval."""
    estimate = mean_of(values)
    return {"mean": round(estimate.value, 4), "text": str(estimate), "count": len(values)}


def write(name: str, report: dict[str, Any]) -> Path:
    """Store a report with the command that made it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    facts = {"command": ["python", *sys.argv], "report": report}
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("upscaler", "interpolation"))
    parser.add_argument("--work", type=Path, default=Path("build/emoji"))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--stills", type=int, default=100)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--strides", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "upscaler":
        from animatediff.weights.finding.builtin import resolve

        report = upscaler_report(
            options.work,
            weights=options.weights or resolve("upscaler", "emoji"),
            stills=options.stills,
            clips=options.clips,
        )
    else:
        report = interpolation_report(
            options.work, clips=options.clips, strides=tuple(options.strides)
        )
    print(json.dumps(report, indent=1))
    print(write(options.what, report))


if __name__ == "__main__":
    main()
