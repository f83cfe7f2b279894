"""Convert diffusers' network of ``measure.py`` to OpenVINO's, in a process of its own.

``measure.py --openvino`` starts it. The network of Stable Diffusion 1.5 with motion modules takes 20 GB
to convert, which are free again when the process ends.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from measure import parser
from models import DTYPES, arguments, fill, make
from torch import Tensor


def network_arguments(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """What the network is given, rounded to the precision asked for; fp32, as numpy knows no bf16."""
    latents, timestep, text = arguments(
        size=options.size,
        frames=options.frames,
        dtype=DTYPES[options.precision],
        guidance=options.guidance,
    )
    return latents.float(), timestep, text.float().repeat_interleave(options.frames, dim=0)


def main() -> None:
    """Convert the network into ``network.xml`` and ``network.bin`` of a folder."""
    import openvino  # pyright: ignore[reportMissingImports] - optional

    folder, options = Path(sys.argv[1]), parser().parse_args(sys.argv[2:])
    model = make("diffusers", width=options.width)
    fill(model, DTYPES[options.precision])
    model = model.float().eval().requires_grad_(False)

    class Traced(torch.nn.Module):
        def forward(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
            return model(latents, timestep, text, return_dict=False)[0]

    with torch.inference_mode():
        network = openvino.convert_model(Traced(), example_input=network_arguments(options))
    openvino.save_model(network, folder / "network.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
