"""What training at the size of the paper takes: operations, disk and hours.

Operations of one clip (16 frames of 256 pixels, Stable Diffusion 1.5 with motion modules) are counted
on tensors without storage, so this needs neither weights nor memory. The decoding rate is measured on
a video made for it: 18 s of 596 x 336 pixels at 30 frames a second, as WebVid's. What a GPU does in a
second is not measured; ``--teraflops`` states it, and the hours follow from it.

    python benchmarks/paper_scale.py
    python benchmarks/paper_scale.py --clips 10_000_000 --gpus 8 --teraflops 120 --cores 64
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from models import make
from torch.utils.flop_counter import FlopCounterMode

from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Media

FRAMES, SIZE, FPS = 16, 256, Fraction(15, 2)
SECONDS, WIDTH, HEIGHT = 18, 596, 336
"""A video of WebVid-10M is 18 s long on average (Bain et al., arXiv 2104.00650)."""


def training_operations() -> float:
    """Floating-point operations of one clip's forward and backward pass, the image model frozen."""
    model = make("diffusers")
    latents = torch.empty(1, 4, FRAMES, SIZE // 8, SIZE // 8, device="meta")
    text = torch.empty(FRAMES, 77, 768, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(latents, torch.empty(1, device="meta"), text, return_dict=False)[0].sum().backward()
    return float(counter.get_total_flops())


def encoding_operations() -> float:
    """Floating-point operations of encoding one clip's frames with the autoencoder."""
    with torch.device("meta"):
        autoencoder = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
        pictures = torch.empty(FRAMES, 3, SIZE, SIZE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        autoencoder.encoder(pictures)
    return float(counter.get_total_flops())


def write_video(path: Path) -> None:
    """Write moving noise-free shapes with a little grain: H.264, as stock footage is sold."""
    draw = np.random.default_rng(0)
    ground = draw.integers(60, 200, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    ground = ground.repeat(4, axis=0).repeat(4, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(SECONDS * 30):
            frame = np.roll(ground, index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def decoding_seconds(path: Path, *, rounds: int) -> float:
    """Median processor seconds to read the whole video at 7.5 frames a second and 256 pixels."""
    taken: list[float] = []
    for _ in range(rounds):
        before = time.process_time()
        decode(Media(path), fps=FPS, size=(SIZE, SIZE))
        taken.append(time.process_time() - before)
    return sorted(taken)[len(taken) // 2]


def main() -> None:
    """Print the counts, the measured rate, and what follows from them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=10_000_000, help="videos of the data set")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4, help="clips of one GPU in a step")
    parser.add_argument("--steps", type=int, default=100_000, help="of the motion stage")
    parser.add_argument(
        "--teraflops", type=float, default=120.0, help="that one GPU reaches in bf16"
    )
    parser.add_argument("--cores", type=int, default=64, help="that decode")
    parser.add_argument("--megabytes", type=float, default=1.3, help="of one source video")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)

    training, encoding = training_operations(), encoding_operations()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write_video(path)
        decoding = decoding_seconds(path, rounds=given.rounds)

    kept = int(SECONDS * FPS)
    latents = 2 * 2 * kept * 4 * (SIZE // 8) ** 2
    text = 2 * 77 * 768
    second = given.teraflops * 1e12
    seen = given.steps * given.batch * given.gpus
    hour = 3600
    rows = (
        ("one clip, forward and backward", f"{training / 1e12:.2f} TFLOP (counted)"),
        ("one clip of 16 frames, encoded", f"{encoding / 1e12:.2f} TFLOP (counted)"),
        ("one video of 18 s, decoded to 135 frames", f"{decoding:.2f} s of a core (measured here)"),
        ("one video, latents and text of a build", f"{(latents + text) / 1e6:.2f} MB (counted)"),
        (
            "source videos",
            f"{given.clips * given.megabytes / 1e6:.1f} TB at {given.megabytes} MB each",
        ),
        ("build without pixels", f"{given.clips * (latents + text) / 1e12:.1f} TB"),
        (
            "decoding all",
            f"{given.clips * decoding / given.cores / hour:.0f} h on {given.cores} cores",
        ),
        (
            "encoding all",
            f"{given.clips * encoding * kept / FRAMES / second / given.gpus / hour:.0f} h on "
            f"{given.gpus} GPUs",
        ),
        ("clips seen by the motion stage", f"{seen:,}"),
        (
            "motion stage on a build",
            f"{given.steps * given.batch * training / second / hour:.0f} h on {given.gpus} GPUs",
        ),
        (
            "motion stage on clips, encoding as it trains",
            f"{given.steps * given.batch * (training + encoding) / second / hour:.0f} h on "
            f"{given.gpus} GPUs, {given.gpus * decoding * second / (training + encoding):.0f} cores",
        ),
    )
    print(
        f"assumed: {given.teraflops:g} TFLOP/s a GPU, {given.cores} cores, {given.clips:,} videos"
    )
    for name, value in rows:
        print(f"{name:45} {value}")


if __name__ == "__main__":
    main()
