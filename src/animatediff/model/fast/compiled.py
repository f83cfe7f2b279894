"""An animated U-Net compiled by ``torch.compile``: one graph, whatever scales and weights are.

Scales of the motion modules become tensors while the model is compiled, because a graph is compiled
again for another Python number. Merged LoRAs exchange the memory of weights, which are inputs of the
graph. The image's size, the number of frames and what is attached to the model change the graph.

On a GPU, the kernels of a graph are recorded once for each shape and replayed (CUDA graphs), so that
launching them takes no time. A compiled model takes no other fast path: they look at values on the
host, which would split the graph.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.replaced import Replaced

Backend = str | Callable[..., Any]
"""What compiles a graph: a name that torch knows, or a function of the graph and example inputs."""


class Compiled:
    """A model whose forward pass is compiled, until ``remove``; compilation is at the first call.

    Args:
        animated: the model.
        backend: what compiles.
        cuda_graphs: record and replay the kernels of a GPU.
        whole: raise if there is more than one graph.

    Raises:
        InputError: inductor has to compile for a CPU, and there is no C++ compiler.
    """

    def __init__(
        self,
        animated: AnimatedUNet,
        *,
        backend: Backend = "inductor",
        cuda_graphs: bool = False,
        whole: bool = False,
    ) -> None:
        if backend == "inductor":
            _prepare_inductor(animated)
        self._grafts = tuple(animated.grafts.values())
        self._cuda_graphs = cuda_graphs
        self._replaced = Replaced()
        # By default, a hook that is attached after compilation would not run.
        torch._dynamo.config.skip_nnmodule_hook_guards = False  # pyright: ignore[reportPrivateUsage]
        self._predict = torch.compile(
            animated.forward,
            backend=backend,
            fullgraph=whole,
            mode="reduce-overhead" if cuda_graphs else None,
        )
        for graft in self._grafts:
            graft.hold_scale(next(animated.unet.parameters()).device)
        self._replaced.put(animated, self._forward)

    def _forward(self, *arguments: Any, **keywords: Any) -> Tensor:
        if not self._cuda_graphs:
            return self._predict(*arguments, **keywords)
        # A replay overwrites the result of the one before it.
        torch.compiler.cudagraph_mark_step_begin()
        return self._predict(*arguments, **keywords).clone()

    def remove(self) -> None:
        """Let the model compute as before; harmless if repeated."""
        self._replaced.remove()
        for graft in self._grafts:
            graft.hold_scale(None)

    def __repr__(self) -> str:
        return f"Compiled({'with' if self._cuda_graphs else 'without'} CUDA graphs)"


def compile_unet(animated: AnimatedUNet) -> Compiled:
    """Compile a model for the device that it is on; with CUDA graphs on a GPU.

    Raises:
        InputError: the model is on a CPU, and there is no C++ compiler.
    """
    device = next(animated.unet.parameters()).device
    return Compiled(animated, cuda_graphs=device.type == "cuda")


def _prepare_inductor(animated: AnimatedUNet) -> None:
    """Let compiled code be kept in the user's cache folder, where a later process finds it."""
    on_cpu = next(animated.unet.parameters()).device.type == "cpu"
    compilers = (os.environ.get("CXX"), "g++", "clang++", "c++")
    if on_cpu and not any(name and shutil.which(name) for name in compilers):
        raise InputError(
            "--compile needs a C++ compiler on a CPU, and none was found; install g++ or leave the "
            "option out."
        )
    os.environ.setdefault(
        "TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("animatediff") / "compiled")
    )
