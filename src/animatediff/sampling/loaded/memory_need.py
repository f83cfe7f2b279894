"""How much memory an animation will need at its peak, known before it begins.

Weights are counted. What the U-Net holds while it predicts is measured: a copy of it predicts a few
latent pixels of a few frames, and the tensors that are alive together are counted. The copy of a small
model shares its weights, and nothing that is attached to the model sees the trial. The copy of a large
model has no values: torch computes only shapes, which takes a second instead of ten. Memory grows in
proportion to pixels and frames, since spatial attention never stores its scores. The decoder's share
follows from its channels. ``HIDDEN`` allows for what operations use inside themselves, where it cannot
be seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from animatediff.model.eight_bits import bytes_of, expanded, stored_in
from animatediff.model.offload import layers_of, weights_of
from animatediff.model.quantised import linear_layers
from animatediff.model.temporal_views import TOGETHER
from animatediff.model.without_values import without_values
from animatediff.runtime import Runtime, device_of, dtype_of
from animatediff.sampling.choosing.window_place import needs_all_frames, room_of
from animatediff.sampling.loaded.tensors import networks_in, tensors_in
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.decode import frames_together

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from animatediff.model.animated_unet import AnimatedUNet
    from animatediff.sampling.loaded.loading import Parts

GIB = 2**30
HIDDEN = 1.2
"""What operations use inside themselves, as a factor of the tensors that are alive."""
LIBRARIES = int(0.38 * GIB)
"""The process with torch and diffusers, before anything is loaded (a CPU build on Linux)."""
STEERED = 1.3
"""With control networks: their residuals are as large as what the U-Net keeps for its way up."""
OF_SAMPLER = 8
"""Clips in fp32 that a sampler holds: latents, predictions with and without the prompt, older ones."""
UPSCALING = 64
"""Channels of a compact upscaler, for one enlarged frame."""
FP32 = 4
SMALL = 256 << 20
"""Bytes of the weights up to which a model takes part in a trial with its values. Without values, torch
imports its compiler, which takes longer than a small model's prediction."""
TRIAL_SIDE = 8
"""Latent pixels along a side of the trial: the least that three halvings allow."""
TRIAL_FRAMES = 4
"""Its frames. Temporal attention stores scores, so more frames need a little more each; it is hardly
anything beside the channels."""


@dataclass(frozen=True)
class MemoryNeed:
    """The memory of an animation, in bytes.

    Attributes:
        weights: of everything that is loaded.
        steps: what denoising needs beside the weights.
        decode: what decoding and finishing need beside the weights.
        on_cpu: whether it is the process's memory; the libraries then count.
        layer: the weights of the largest layer, if layers' weights are copied where they compute and
            dropped again; ``weights`` are then those that are not.
    """

    weights: int
    steps: int
    decode: int
    on_cpu: bool = True
    layer: int = 0

    @property
    def peak(self) -> int:
        """The most at any time."""
        return self.weights + self.beside + (LIBRARIES if self.on_cpu else 0)

    @property
    def beside(self) -> int:
        """The most at any time that is not there yet once everything is loaded."""
        return self.layer + max(self.steps, self.decode)

    def __str__(self) -> str:
        return (
            f"at most about {self.peak / GIB:.1f} GiB: {(self.weights + self.layer) / GIB:.2f} of "
            f"weights{', a layer at a time' if self.layer else ''}, "
            f"{self.steps / GIB:.2f} to denoise, {self.decode / GIB:.2f} to decode"
        )


def memory_need(settled: Settled, parts: Parts, *, runtime: Runtime) -> MemoryNeed:
    """Predict the memory of a request with a loaded model.

    Args:
        settled: the request.
        parts: the loaded model.
        runtime: where it runs.
    """
    measured = _per_latent_pixel(parts.animated)
    low = runtime.memory == "low"
    return MemoryNeed(
        weights=_bytes_of(parts.picture) if low else _weights(parts),
        steps=_steps(settled, parts, per_latent_pixel=measured),
        decode=_decode(settled, parts),
        on_cpu=parts.base.device.type == "cpu",
        layer=_largest_layer(parts) if low else 0,
    )


def bound_beside(settled: Settled, parts: Parts, *, runtime: Runtime) -> int:
    """At least the bytes that ``memory_need`` predicts beside what is loaded, without a trial.

    It counts as if the U-Net kept the result of each layer, in fp32 and at full resolution.

    Args:
        settled: the request.
        parts: the loaded model.
        runtime: where it runs.
    """
    channels = _layers_of(parts.animated).channels
    steps = _steps(settled, parts, per_latent_pixel=FP32 * channels)
    layer = _largest_layer(parts) if runtime.memory == "low" else 0
    return layer + max(steps, _decode(settled, parts))


def _steps(settled: Settled, parts: Parts, *, per_latent_pixel: float) -> int:
    """Bytes to denoise, beside the weights."""
    request = settled.request
    latents = _area(settled) / parts.base.pixels_per_latent**2
    rows = 1 + settled.is_guided + (request.perturbed_attention > 0) + len(request.regions)
    together = rows * min(settled.num_frames, settled.windows.longest)
    kept = 0.0
    if settled.views is not None and not settled.views.is_whole:
        room = None if needs_all_frames(request) else room_of(parts.animated)
        together = min(settled.num_frames, TOGETHER) if room else settled.num_frames
        controlled = bool(request.controls)
        kept = room.of(settled.num_frames, latents, controlled=controlled) if room else 0
    predicting = per_latent_pixel * together * latents
    if request.controls or request.sparse:
        predicting *= STEERED
    predicting += kept
    expanded = _layers_of(parts.animated).expanded
    return int(HIDDEN * predicting + OF_SAMPLER * _clip(settled, parts)) + expanded


def _decode(settled: Settled, parts: Parts) -> int:
    """Bytes to decode and to finish, beside the weights."""
    request, area = settled.request, _area(settled)
    enlarged = (request.upscale or 1) ** 2
    frames = 3 * settled.num_frames * area
    tile = request.vae_tile**2 or area
    decoded = frames_together(int(area)) * min(tile, area)
    decoding = HIDDEN * FP32 * _per_pixel(parts.base.pending_vae.part.module) * decoded
    finishing = FP32 * UPSCALING * area * enlarged if enlarged > 1 else 0
    written = frames * (1 + enlarged * request.interpolate)
    return int(_clip(settled, parts) + max(decoding, finishing) + written)


def _area(settled: Settled) -> float:
    """Pixels of a frame in the larger pass."""
    return settled.height * settled.width * settled.request.hires**2


def _clip(settled: Settled, parts: Parts) -> float:
    """Bytes of a clip of latents in fp32."""
    latents = _area(settled) / parts.base.pixels_per_latent**2
    return FP32 * parts.base.unet.config["in_channels"] * settled.num_frames * latents


def _weights(parts: Parts) -> int:
    """Bytes of every tensor that is loaded, or will be, each once."""
    loaded = (*parts.base.networks.values(), parts.animated, parts.added, parts.picture)
    vae = parts.base.pending_vae
    later = vae.dtype.itemsize * sum(tensor.numel() for tensor in tensors_in(vae.part.module))
    return later + _bytes_of(loaded)


def _bytes_of(loaded: Any) -> int:
    return sum({id(tensor): bytes_of(tensor) for tensor in tensors_in(loaded)}.values())


@dataclass(frozen=True)
class _Layers:
    """What the layers of a model say, whatever is asked of it.

    Attributes:
        channels: of all results together.
        expanded: bytes of weights in 8 bits while they are expanded: at most two layers of a
            feed-forward.
    """

    channels: int
    expanded: int


_known_layers: weakref.WeakKeyDictionary[nn.Module, _Layers] = weakref.WeakKeyDictionary()


def _layers_of(animated: AnimatedUNet) -> _Layers:
    """Look through a model's layers once: there are hundreds, and a small model draws in seconds."""
    if animated not in _known_layers:
        weights = (layer.weight for layer in linear_layers(animated))
        in_8_bits = (weight for weight in weights if stored_in(weight)[0] is not weight)
        _known_layers[animated] = _Layers(
            channels=sum(len(next(iter(weights_of(each)))) for each in layers_of([animated])),
            expanded=max((2 * weight.nbytes for weight in in_8_bits), default=0),
        )
    return _known_layers[animated]


def _largest_layer(parts: Parts) -> int:
    """Bytes of the layer with the most weights, of all that wait elsewhere."""
    layers = layers_of(networks_in(parts.waiting))
    return max(sum(weight.nbytes for weight in weights_of(layer)) for layer in layers)


def _per_pixel(vae: nn.Module) -> int:
    """Floats for each pixel of a frame while the decoder is at its full size.

    Its last upsampling still has the channels of the level below; a normalised copy and a convolution's
    input and output are alive together.
    """
    channels = cast("AutoencoderKL", vae).config["block_out_channels"]
    return 3 * channels[min(1, len(channels) - 1)]


_known: weakref.WeakKeyDictionary[nn.Module, float] = weakref.WeakKeyDictionary()


@torch.inference_mode()
def _per_latent_pixel(animated: AnimatedUNet) -> float:
    """Bytes alive at once for each latent pixel of a frame in the U-Net, by a small trial."""
    if animated not in _known:
        unet = animated.unet
        trial, device = _without_values(animated), torch.device("meta")
        with torch.inference_mode(False):  # in which torchao's weights cannot be detached
            weights = animated.state_dict()
        if sum(bytes_of(weight) for weight in weights.values()) <= SMALL:
            plain = {name: expanded(weight) for name, weight in weights.items()}
            trial.load_state_dict(plain, assign=True)
            device = device_of(unet)
        shape = (1, unet.config["in_channels"], TRIAL_FRAMES, TRIAL_SIDE, TRIAL_SIDE)
        with device:
            text = torch.zeros(1, 77, unet.config["cross_attention_dim"], dtype=dtype_of(unet))
            clip = torch.zeros(shape, dtype=dtype_of(unet))
            time = torch.zeros((), dtype=torch.int64)
            with Alive() as alive:
                trial(clip, time, text, added_cond_kwargs=_added(unet, text))
        _known[animated] = alive.most / (TRIAL_FRAMES * TRIAL_SIDE**2)
    return _known[animated]


def _without_values(animated: AnimatedUNet) -> AnimatedUNet:
    """The same model without values, and without what others attached to it."""
    with without_values():
        unet = type(animated.unet).from_config(animated.unet.config)
        assert isinstance(unet, type(animated.unet))
        # The method of diffusers' models warns of layers that others keep in fp32.
        nn.Module.to(unet, dtype_of(animated.unet))
        trial = type(animated)(
            unet,
            branch=animated.branch,
            mid=animated.mid,
            norm_scope=animated.norm_scope,
            resnet_norm_scope=animated.resnet_norm_scope,
            heads=animated.heads,
        )
    for name, graft in animated.grafts.items():
        if not graft.attached:
            trial.grafts[name].remove()
    return trial.eval()


def _added(unet: UNet2DConditionModel, text: Tensor) -> dict[str, Tensor] | None:
    """SDXL's second text and sizes, as zeros."""
    if unet.config["addition_embed_type"] != "text_time":
        return None
    width = unet.config["projection_class_embeddings_input_dim"]
    width -= 6 * unet.config["addition_time_embed_dim"]
    return {
        "text_embeds": text.new_zeros(len(text), width),
        "time_ids": text.new_zeros(len(text), 6),
    }


class Alive(TorchFunctionMode):
    """Counts the bytes of tensors that operations make, while they are alive.

    Attributes:
        now: bytes alive.
        most: the most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive: set[int] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        given = {_place(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and _place(each) not in given | self._alive:
                self._count(each.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = _identity(storage), storage.nbytes()
        self._alive.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, place, size)

    def _free(self, place: int, size: int) -> None:
        self._alive.discard(place)
        self.now -= size


def _place(tensor: Tensor) -> int:
    """What identifies a tensor's memory; without values, it has no address."""
    return _identity(tensor.untyped_storage())


def _identity(storage: torch.UntypedStorage) -> int:
    return storage._cdata  # pyright: ignore[reportPrivateUsage]
