"""Which fast paths a model takes while it draws, decided here alone, from where and how it runs.

Each path is one file, computes what the plain layers compute (to 1e-5 in fp32, see
``tests/model/fast/test_drawing.py``), and steps aside where something is attached that it does not
know: hooks, other attention processors, masks. ``choice.py`` does the same for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.compiled import Compiled, compile_unet
from animatediff.model.fast.convolutions.folded_upsampling import fold_upsampling
from animatediff.model.fast.convolutions.small_maps import computes_by_tiles, multiply_small_maps
from animatediff.model.fast.convolutions.winograd import convolve_by_winograd
from animatediff.model.fast.feed_forward import in_blocks
from animatediff.model.fast.linear import (
    Product,
    by_onednn,
    by_torch,
    gated_by_onednn,
    gated_by_torch,
    replace_linear,
)
from animatediff.model.fast.linear_library import fastest_library
from animatediff.model.fast.plain_norms import plain_norms
from animatediff.model.fast.replaced import Replaced
from animatediff.model.fast.temporal_attention import attend_in_pieces
from animatediff.model.fast.text.cached_text import CachedText, cached_text_check
from animatediff.model.fast.text.equal_halves import EqualHalves, share_first_layers
from animatediff.model.fast.text.shared_text import takes_shared_text
from animatediff.model.fast.transformers import without_copies
from animatediff.runtime import FAST_PATHS, FastPath, Runtime, dtype_of


def plan_drawing(runtime: Runtime) -> frozenset[FastPath]:
    """The fast paths that pay off on a device, except those that ``runtime`` leaves out."""
    if runtime.torch_device().type != "cpu":
        # Linear layers, norms and convolutions of a GPU's libraries are fast as they are.
        return frozenset[FastPath](("text",)) - runtime.without
    left_out: set[FastPath] = set(runtime.without)
    if runtime.torch_dtype() == torch.bfloat16:
        left_out.add("convolution")  # its sums would be rounded to bf16
        # By AMX torch's fused attention is fast, and its convolution slow on small maps.
        left_out.add("attention" if computes_by_tiles() else "small-maps")
    else:
        left_out |= {"attention", "norms", "temporal"}
    return frozenset(FAST_PATHS) - left_out


class Drawing:
    """The fast paths that a model takes while it draws, until ``remove``.

    Args:
        animated: the model; its weights stay as they are.
        paths: which of them.
    """

    def __init__(self, animated: AnimatedUNet, paths: frozenset[FastPath]) -> None:
        unet, dtype = animated.unet, dtype_of(animated.unet)
        self.paths = paths
        self._animated = animated
        self._processors: Mapping[str, Any] = {}
        self._replaced: list[Replaced] = []
        product, gated = _product(paths, dtype)
        if "norms" in paths:
            self._replaced.append(plain_norms(animated))
        if "linear" in paths:
            self._replaced.append(replace_linear(animated, product))
        if "feed-forward" in paths:
            self._replaced.append(in_blocks(animated, product=product, gated=gated))
        if "convolution" in paths:
            self._replaced.append(convolve_by_winograd(unet, product))
        if "small-maps" in paths:
            self._replaced.append(multiply_small_maps(unet, product))
        if "upsampling" in paths:
            by_tiles = dtype == torch.bfloat16 and computes_by_tiles()
            self._replaced.append(fold_upsampling(unet, narrowest=16 if by_tiles else 0))
        if "temporal" in paths:
            self._replaced.append(attend_in_pieces(animated))
        halves = EqualHalves(animated.clip)
        if "guidance" in paths:
            self._replaced.append(share_first_layers(unet, halves))
        if "layout" in paths:
            self._replaced.append(without_copies(unet, halves=halves))
        if "text" in paths and takes_shared_text(unet):
            self._keep_text()

    def _keep_text(self) -> None:
        """Keep keys and values of the text, if no attention computes in a way of its own."""
        unet = self._animated.unet
        processors = dict(unet.attn_processors)
        if _are_own(processors):
            self._processors = processors
            # diffusers' annotation lists its own classes only.
            processor: Any = CachedText(
                in_blocks="attention" in self.paths, padded="padded-text" in self.paths
            )
            unet.set_attn_processor(processor)
            self._animated.shares_text = cached_text_check(unet)

    def remove(self) -> None:
        """Let the model compute as before; harmless if repeated."""
        for replaced in reversed(self._replaced):
            replaced.remove()
        self._replaced.clear()
        self._animated.shares_text = None
        if self._processors:
            self._animated.unet.set_attn_processor(dict(self._processors))
            self._processors = {}

    def __repr__(self) -> str:
        return f"Drawing({', '.join(sorted(self.paths))})"


def decode_fast(decoder: nn.Module, runtime: Runtime) -> Replaced:
    """Let an autoencoder's decoder take the fast paths that pay off, until the result's ``remove``.

    Args:
        decoder: its weights are in fp32, whatever the precision of ``runtime``.
        runtime: where it runs.
    """
    paths = plan_drawing(replace(runtime, precision="fp32"))
    every = Replaced()
    if "convolution" in paths:
        every.join(convolve_by_winograd(decoder, _product(paths, torch.float32)[0]))
    if "upsampling" in paths:
        every.join(fold_upsampling(decoder))
    return every


def _product(paths: frozenset[FastPath], dtype: torch.dtype) -> tuple[Product, Product]:
    """How linear layers and GEGLU are computed."""
    if "linear" in paths and fastest_library(dtype) == "onednn":
        return by_onednn, gated_by_onednn
    return by_torch, gated_by_torch


def _are_own(processors: Mapping[str, Any]) -> bool:
    """Return whether every attention computes as diffusers does by default."""
    return all(type(processor) is AttnProcessor2_0 for processor in processors.values())


def draw_fast(animated: AnimatedUNet, runtime: Runtime) -> Drawing | Compiled:
    """Let a model take the fast paths that pay off, until the result's ``remove``.

    Raises:
        InputError: it has to be compiled, and there is no compiler.
    """
    if runtime.compile:
        return compile_unet(animated)
    return Drawing(animated, plan_drawing(runtime))
