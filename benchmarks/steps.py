"""One denoising step in several ways, with the same weights in one process (see ``measure.py``)."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from ceilings import Kind, ceilings, flops_of
from measure import Measured, Report, Sample, Way, interleaved, timed
from models import DTYPES, fill, make, predict, share_weights
from openvino_network import network_arguments
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from animatediff.apps.heap import keep_freed_memory
from animatediff.model.fast.compiled import compile_unet
from animatediff.model.fast.drawing import Drawing, plan_drawing
from animatediff.runtime import FAST_PATHS, FastPath, Runtime, channels_last

ALSO: Mapping[str, frozenset[FastPath]] = {
    "cpu": frozenset[FastPath](("small-maps",)),
    "cuda": frozenset[FastPath](("guidance", "layout", "upsampling")),
}
"""Paths that compute the same on every such device, and are measured by ``--gains`` where they are not
taken by default."""
ELSEWHERE = {
    "attention": "bf16 without AMX only",
    "convolution": "fp32 only: its sums would be rounded to bf16",
    "norms": "bf16 only",
    "temporal": "bf16 only",
}
"""Why a path has no row of its own."""


def compare_steps(options: argparse.Namespace) -> Report:
    """One denoising step in several ways, as a report."""
    measured, flops = measure_steps(options)
    passes = "one batch of two, as classifier-free guidance needs," if options.guidance else "one"
    return Report(
        name=f"denoising-step-{options.precision}",
        title="A denoising step, ours and diffusers'",
        setting=(
            f"One forward pass of {passes} clip of {options.frames} frames at {options.size} px, "
            f"{options.precision}, {options.width:g} times Stable Diffusion 1.5's channels, random "
            "weights. The work is counted as diffusers does it, so a way that saves work can reach "
            "more than the ceilings."
        ),
        measured=measured,
        baseline="diffusers",
        flops=flops,
        device=options.device,
        more=gains(measured, device=options.device) if options.gains else (),
    )


def measure_steps(
    options: argparse.Namespace, *, only: Collection[str] = ()
) -> tuple[Measured, dict[Kind, float]]:
    """Every run of every way, and the work of one step as diffusers does it.

    Args:
        options: of ``measure.py``.
        only: the ways to run; all that ``options`` ask for if empty.
    """
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # for every way alike
    dtype = DTYPES[options.precision]
    ours = make("ours", width=options.width)
    fill(ours, dtype)
    channels_last(ours.to(options.device))
    theirs = make("diffusers", width=options.width)
    share_weights(theirs, ours)
    models = {"ours": ours, "diffusers": theirs}
    steps = {
        name: predict(
            model.eval().requires_grad_(False),
            size=options.size,
            frames=options.frames,
            dtype=dtype,
            guidance=options.guidance,
        )
        for name, model in models.items()
    }
    ways = ways_of(options, ours, theirs, steps)
    measured = interleaved(
        {name: way for name, way in ways.items() if not only or name in only},
        rounds=options.rounds,
        warmup=options.warmup,
        ceilings=lambda: ceilings(dtype, seconds=options.ceiling_seconds, device=options.device),
        on_run=tell,
    )
    # Of shapes alone: nothing is computed.
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        flops = flops_of(steps["diffusers"])
    return measured, flops


def ways_of(
    options: argparse.Namespace, ours: Any, theirs: Any, steps: Mapping[str, Callable[[], Tensor]]
) -> dict[str, Way]:
    """What to run: diffusers first, so that outputs are compared with its own."""
    runtime = Runtime(device=options.device, precision=options.precision)
    every = plan_drawing(runtime)
    on_processor = options.device == "cpu" and options.precision != "bf16"
    also = frozenset[FastPath]() if on_processor else ALSO[options.device]

    def drawn(paths: frozenset[FastPath]) -> Sample:
        drawing = Drawing(ours, paths)
        try:
            with torch.inference_mode():
                if "text" in paths:  # keys and values of the prompt are kept from the first step on
                    for _ in range(options.warm_text):
                        steps["ours"]()
                return timed(steps["ours"])
        finally:
            drawing.remove()

    def plainly(step: Callable[[], Tensor]) -> Sample:
        with torch.inference_mode():
            return timed(step)

    ways: dict[str, Way] = {"diffusers": lambda: plainly(steps["diffusers"])}
    ways["ours"] = lambda: drawn(every)
    if options.plain or options.gains:
        ways["ours, no fast path"] = lambda: plainly(steps["ours"])
    if options.gains:
        for path in sorted(every):
            ways[f"ours without {path}"] = lambda path=path: drawn(every - {path})
        for path in FAST_PATHS:
            if path in also - every:
                more = every | frozenset[FastPath]((path,))
                ways[f"ours with {path}"] = lambda paths=more: drawn(paths)
    if options.compiled:
        compiled = torch.compile(theirs)
        step = _step_of(steps["diffusers"], theirs, compiled)
        ways["diffusers, compiled"] = lambda: plainly(step)

        def by_graph() -> Sample:
            graph = compile_unet(ours)
            try:
                return plainly(steps["ours"])
            finally:
                graph.remove()

        ways["ours, compiled"] = by_graph
    if options.openvino:
        ways["diffusers, OpenVINO"] = _openvino(options)
    return ways


def gains(measured: Measured, *, device: str = "cpu") -> tuple[str, ...]:
    """A table of what each fast path gains: the time without it, relative to the time with it."""
    lines = ["Time of a step without a fast path, relative to the time with it:", ""]
    lines += ["| path | without / with | |", "| --- | --- | --- |"]
    for path in FAST_PATHS:
        without, added = f"ours without {path}", f"ours with {path}"
        if without in measured.runs:
            ratio, note = measured.ratio(without, "wall_s", to="ours"), "taken here"
        elif added in measured.runs:
            ratio, note = measured.ratio("ours", "wall_s", to=added), "not taken here by default"
        else:
            reason = ELSEWHERE.get(path, "not taken here") if device == "cpu" else "for CPUs"
            ratio, note = "not measured", reason
        lines.append(f"| {path} | {ratio} | {note} |")
    plain = "ours, no fast path"
    if plain in measured.runs:
        lines.append(f"| all of them | {measured.ratio(plain, 'wall_s', to='ours')} | |")
    return (*lines, "")


def tell(number: int, way: str, sample: Sample) -> None:
    """Print a run on standard error."""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in sample.numbers.items())
    print(f"round {number + 1}, {way}: {numbers}", file=sys.stderr, flush=True)


def _step_of(step: Callable[[], Tensor], model: Any, other: Any) -> Callable[[], Tensor]:
    """The same step by another callable, with the arguments that the model is called with."""
    given: dict[str, Any] = {}

    def keep(_model: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        given.update(arguments=arguments, keywords=keywords)

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.inference_mode():
        step()
    handle.remove()
    return lambda: other(*given["arguments"], **given["keywords"])[0]


def _openvino(options: argparse.Namespace) -> Way:
    """A step of the same network by OpenVINO, in the precision and with the threads that are asked for.

    A process of its own converts the network (see ``openvino_network.py``), as that takes three times
    the memory of the weights.

    Raises:
        SystemExit: OpenVINO is not installed, or computes on another device or in another precision.
    """
    try:
        import openvino  # pyright: ignore[reportMissingImports] - optional
    except ImportError:
        sys.exit("OpenVINO is not installed; run pip install openvino, or leave out --openvino.")
    if options.device != "cpu":
        sys.exit(f"--openvino computes on a CPU, not on {options.device}; leave it out.")
    wanted = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[options.precision]
    hints = {"INFERENCE_PRECISION_HINT": wanted, "INFERENCE_NUM_THREADS": options.threads}
    program = Path(__file__).with_name("openvino_network.py")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, program, folder, *sys.argv[1:]], check=True)
        compiled = openvino.compile_model(
            Path(folder) / "network.xml", options.device.upper(), hints
        )
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != wanted:
        sys.exit(f"OpenVINO computes in {taken} here, not in {wanted}; use another --precision.")
    arrays = [each.numpy() for each in network_arguments(options)]
    return lambda: timed(lambda: torch.from_numpy(compiled(arrays)[0].copy()))
