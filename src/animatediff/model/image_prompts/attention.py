"""Image prompts: attention to pictures beside the text (IP-Adapter, arXiv 2308.06721).

Every cross-attention gets a second pair of key and value layers, for image tokens (Eq. 5):

    out = to_out(Attention(Q, K, V) + scale * Attention(Q, K_image, V_image))

The second term is added to what enters ``to_out``, by a hook, from the queries that leave ``to_q``, by
another. So the U-Net, its attention processors and its weights stay what they are, any number of image
prompts add up, and removing one leaves no trace. Each frame may have its own images, scale and mask;
no attention processor of diffusers offers that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.errors import InputError
from animatediff.model.fast.sliced_attention import attention_within_grid
from animatediff.model.without_values import without_values
from animatediff.runtime import dtype_of

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


@dataclass(frozen=True)
class ImageTokens:
    """What the frames of a batch attend to.

    Attributes:
        tokens: of each frame, or one row for all.
        scales: how much each frame's counts.
        mask: where it counts, 0 to 1, for each frame or one for all; any size; ``None`` is everywhere.
    """

    tokens: Float[Tensor, "#bf t cross"]
    scales: Float[Tensor, " bf"]
    mask: Float[Tensor, "#bf h w"] | None = None


def cross_attentions(unet: UNet2DConditionModel) -> Iterator[Attention]:
    """The attentions to text, in the order of IP-Adapter's files: down, up, then the middle block."""
    for block in (*unet.down_blocks, *unet.up_blocks, unet.mid_block):
        for attention in getattr(block, "attentions", ()):
            for layer in attention.transformer_blocks:
                if layer.attn2 is not None:
                    yield layer.attn2


class ImageAttention(nn.Module):
    """The branch at one cross-attention: keys and values of image tokens.

    Args:
        cross: channels of an image token.
        width: channels of the attention.
    """

    def __init__(self, cross: int, width: int) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(cross, width, bias=False)
        self.to_v_ip = nn.Linear(cross, width, bias=False)

    def forward(
        self, query: Float[Tensor, "bf s c"], images: ImageTokens, *, heads: int, weight: float
    ) -> Float[Tensor, "bf s c"]:
        """What each position gathers from the images of its frame, scaled and masked."""
        tokens = images.tokens.to(query.dtype)
        key, value = self.to_k_ip(tokens), self.to_v_ip(tokens)
        frames, positions, _ = query.shape
        query, key, value = (
            rearrange(x, "b s (n d) -> b n s d", n=heads).expand(frames, -1, -1, -1)
            for x in (query, key, value)
        )
        gathered = attention_within_grid(query, key, value)
        gathered = rearrange(gathered, "b n s d -> b s (n d)")
        share = (images.scales * weight).to(query)[:, None, None]
        if images.mask is not None:
            share = share * _at_positions(images.mask, positions).to(query)[..., None]
        return share * gathered


class ImagePrompt:
    """One image prompt, attached to every cross-attention of a U-Net.

    Args:
        unet: its weights, names and attention processors stay.
        branches: one for each cross-attention, in the order of ``cross_attentions``.
        layer_weights: how much each layer counts, beside the scale.

    Raises:
        InputError: there are not as many branches or weights as cross-attentions.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        branches: Sequence[ImageAttention],
        *,
        layer_weights: Sequence[float] | None = None,
    ) -> None:
        hosts = list(cross_attentions(unet))
        self.weights = list(layer_weights or [1.0] * len(hosts))
        if not len(branches) == len(self.weights) == len(hosts):
            raise InputError(
                f"This image prompt is for {len(branches)} attention layers, and the model has "
                f"{len(hosts)}; use one that was made for it."
            )
        self.branches = list(branches)
        self.images: ImageTokens | None = None
        """What the next forward passes attend to; ``None``, or a scale of 0 throughout, is nothing."""
        self._queries: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        for index, host in enumerate(hosts):
            self._attach(index, host)

    @property
    def attached(self) -> bool:
        """Whether the U-Net carries this prompt now."""
        return bool(self._handles)

    def remove(self) -> None:
        """Take the prompt off the U-Net, which is then what it was before; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._queries.clear()

    def _attach(self, index: int, host: Attention) -> None:
        def keep(_layer: nn.Module, _inputs: Any, query: Tensor) -> None:
            if self._counts(index):
                self._queries[index] = query

        def add(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            query = self._queries.pop(index, None)
            if query is None or self.images is None:
                return None
            image = self.branches[index](
                query, self.images, heads=host.heads, weight=self.weights[index]
            )
            return (inputs[0] + image, *inputs[1:])

        assert host.to_out is not None
        self._handles.append(host.to_q.register_forward_hook(keep))
        self._handles.append(host.to_out[0].register_forward_pre_hook(add))

    def _counts(self, index: int) -> bool:
        images = self.images
        return images is not None and self.weights[index] != 0 and bool(images.scales.any())


def load_branches(
    weights: Mapping[str, Tensor], unet: UNet2DConditionModel, *, device: torch.device
) -> list[ImageAttention]:
    """The branches from ``{n}.to_k_ip.weight`` and ``{n}.to_v_ip.weight``, n = 1, 3, 5, ...

    Numbers count every attention of the U-Net, self-attentions too, hence the odd ones.
    """
    found: list[ImageAttention] = []
    for index, host in enumerate(cross_attentions(unet)):
        number = 2 * index + 1
        with without_values():
            branch = ImageAttention(host.cross_attention_dim, host.inner_dim)
        names = ("to_k_ip.weight", "to_v_ip.weight")
        branch.load_state_dict(
            {name: weights[f"{number}.{name}"] for name in names}, strict=True, assign=True
        )
        found.append(branch.to(device=device, dtype=dtype_of(unet)).requires_grad_(False))
    return found


def _at_positions(mask: Float[Tensor, "f h w"], positions: int) -> Float[Tensor, "f s"]:
    """The mask at each position of a layer, whose map has the mask's proportions."""
    height, width = mask.shape[-2:]
    rows = max(1, round((positions * height / width) ** 0.5))
    while positions % rows:
        rows -= 1
    small = F.interpolate(
        mask[:, None], size=(rows, positions // rows), mode="bilinear", antialias=True
    )
    return rearrange(small, "f 1 h w -> f (h w)")
