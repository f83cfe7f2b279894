"""Inflation: a frozen image U-Net that denoises video, by motion modules grafted into it.

Sec. 4.2 of Guo et al., arXiv 2307.04725: frames are folded into the batch, so that the image layers
see images, and only the grafted branches look across frames. The U-Net is diffusers' own,
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.clip import Clip
from animatediff.model.control.residuals import Residuals
from animatediff.model.folded import row_per_frame, text_per_frame, timestep_per_frame
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.motion_module import MotionModule, NormScope
from animatediff.model.norms import normalise_over_frames
from animatediff.model.temporal_conv import TemporalConv
from animatediff.runtime import device_of, dtype_of

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Branch = Literal["transformer", "convolution"]
"""The paper's motion module, or its convolutional rival (Sec. 5.3)."""


@dataclass(frozen=True)
class Site:
    """A layer of the image U-Net after which motion is added."""

    name: str
    """``down_0_1``: side, block, layer; the middle block's is ``mid_0``."""
    channels: int
    layer: nn.Module


def motion_sites(unet: UNet2DConditionModel | ControlNetModel, *, mid: bool) -> Iterator[Site]:
    """After each attention of a block, or after each ResNet where a block has none (Sec. 4.2).

    Stable Diffusion 1.5 has 20 such sites and SDXL 15; ``mid`` adds one, between the attention of
    the middle block and the ResNet that follows it. A ControlNet has the down blocks' alone.

    Raises:
        InputError: ``mid`` is asked of a U-Net whose middle block has no attention, or is missing.
    """
    for side in ("down", "up"):
        if side == "up" and mid:
            yield _mid_site(unet)
        blocks: Any = getattr(unet, f"{side}_blocks", ())
        for i, block in enumerate(blocks):
            for j, layer in enumerate(getattr(block, "attentions", block.resnets)):
                yield Site(f"{side}_{i}_{j}", block.resnets[j].out_channels, layer)


def _mid_site(unet: UNet2DConditionModel | ControlNetModel) -> Site:
    attentions = getattr(unet.mid_block, "attentions", None)
    if not attentions:
        raise InputError(
            "This U-Net has no attention in its middle block, so it takes no motion module there; "
            "use motion weights without one."
        )
    resnet = unet.get_submodule("mid_block.resnets.0")
    return Site("mid_0", cast(int, resnet.out_channels), attentions[0])


class AnimatedUNet(nn.Module):
    """A frozen image U-Net with motion modules grafted in; it predicts the noise of a video.

    Fresh, it is the image model frame by frame (if ``resnet_norm_scope`` is ``frame``, as an image
    model's is); ``remove`` restores that model bit for bit. Only ``motion`` holds what AnimateDiff
    learns; freezing ``unet`` is up to whoever trains.

    Args:
        unet: diffusers' U-Net; it gets hooks, never other weights, names or methods.
        branch: the motion module, or its convolutional rival.
        mid: whether the middle block has a site (version 2 and its descendants).
        norm_scope: statistics of the motion modules' GroupNorm (``video`` for SDXL beta).
        resnet_norm_scope: statistics of the image model's own GroupNorms in its ResNets and before
            its last convolution (``video`` for version 1 and Hotshot-XL).
        heads: attention heads of each motion module.
        device: where the motion modules are made, if not beside the U-Net; ``meta`` takes no memory
            and no time, for weights that ``load_motion_state_dict`` brings.

    Raises:
        InputError: a width is not divisible by the heads, or ``mid`` is asked of a U-Net without
            one.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        *,
        branch: Branch = "transformer",
        mid: bool = False,
        norm_scope: NormScope = "frame",
        resnet_norm_scope: NormScope = "frame",
        heads: int = 8,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.branch: Branch = branch
        self.mid = mid
        self.norm_scope: NormScope = norm_scope
        self.resnet_norm_scope: NormScope = resnet_norm_scope
        self.heads = heads
        self.clip = Clip()
        self.shares_text: Callable[[], bool] | None = None
        """Whether the attention of ``unet`` takes one text for a clip now; ``None`` is never, and it
        gets one for each frame."""
        sites = list(motion_sites(unet, mid=mid))
        with torch.device(device or device_of(unet)):
            self.motion = nn.ModuleDict({site.name: self._branch_at(site) for site in sites})
        self.motion.to(dtype=dtype_of(unet))
        self.grafts = Grafts(
            {site.name: Graft(self.motion[site.name]).attach(site.layer) for site in sites}
        )
        self.resnet_norms = (
            normalise_over_frames(unet, clip=self.clip) if resnet_norm_scope == "video" else None
        )

    def _branch_at(self, site: Site) -> nn.Module:
        norm_groups = cast(int, self.unet.config["norm_num_groups"])
        if self.branch == "convolution":
            return TemporalConv(
                site.channels,
                norm_groups=norm_groups,
                norm_scope=self.norm_scope,
                clip=self.clip,
            )
        return MotionModule(
            site.channels,
            heads=self.heads,
            norm_groups=norm_groups,
            norm_scope=self.norm_scope,
            clip=self.clip,
        )

    def forward(
        self,
        latents: Float[Tensor, "b c f h w"],
        timestep: int | float | Tensor,
        encoder_hidden_states: Tensor,
        *,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "b c f h w"]:
        """The noise in every frame of ``latents``.

        Args:
            latents: noisy latents.
            timestep: one for all, or one for each clip ``[b]``, or one for each frame ``[b, f]``.
            encoder_hidden_states: text, ``b n d`` shared by the frames of a clip, or one for each
                frame as ``b f n d`` or ``(b f) n d``.
            added_cond_kwargs: SDXL's ``text_embeds`` and ``time_ids``, one row for each clip or
                frame.
            residuals: what control networks add to the image model's features.

        Raises:
            InputError: a condition has rows for neither the clips nor the frames, or residuals are
                for a U-Net with another number of skip connections.
        """
        clips, _, frames, _, _ = latents.shape
        self.clip.num_frames = frames
        folded = rearrange(latents, "b c f h w -> (b f) c h w").contiguous()
        noise = self.unet(
            folded,
            timestep_per_frame(timestep, clips=clips, frames=frames),
            self._text(encoder_hidden_states, clips=clips, frames=frames),
            added_cond_kwargs={
                name: row_per_frame(value, clips=clips, frames=frames, what=name)
                for name, value in (added_cond_kwargs or {}).items()
            },
            return_dict=False,
            **_as_diffusers(residuals or Residuals(), skips=_num_skips(self.unet)),
        )[0]
        return rearrange(noise, "(b f) c h w -> b c f h w", f=frames)

    def _text(self, text: Tensor, *, clips: int, frames: int) -> Tensor:
        shared = text.ndim == 3 and len(text) == clips
        if shared and self.shares_text is not None and self.shares_text():
            return text
        return text_per_frame(text, clips=clips, frames=frames)

    def remove(self) -> None:
        """Take every branch off the U-Net, which is then the image model bit for bit."""
        self.grafts.remove()
        if self.resnet_norms is not None:
            self.resnet_norms.remove()

    def set_motion_scale(self, scale: float) -> None:
        """How much of every motion module is added: 1 as trained, 0 for the image model."""
        self.grafts.scale = scale

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory in training: recompute blocks and branches on the way back."""
        if enabled:
            self.unet.enable_gradient_checkpointing()
        else:
            self.unet.disable_gradient_checkpointing()
        self.grafts.checkpointed = enabled

    def motion_state_dict(self) -> dict[str, Tensor]:
        """What AnimateDiff learned, as ``{site}.{parameter}``."""
        return self.motion.state_dict()

    def load_motion_state_dict(self, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
        """Take over what ``motion_state_dict`` gave; modules on meta move beside the U-Net.

        Raises:
            RuntimeError: with ``strict``, a name is missing or unexpected; always, a shape differs.
        """
        empty = any(parameter.is_meta for parameter in self.motion.parameters())
        self.motion.load_state_dict(weights, strict=strict, assign=empty)
        if empty:
            self.motion.to(device=device_of(self.unet), dtype=dtype_of(self.unet))

    def __repr__(self) -> str:
        norms = "over the frames" if self.resnet_norms else "per frame"
        kinds = {name: type(graft.branch).__name__ for name, graft in self.grafts.items()}
        return "\n".join(
            [
                f"AnimatedUNet({type(self.unet).__name__}; {self.grafts!r}; ResNet norms {norms}",
                *(
                    f"  {name}: {kinds[name]}, scale {graft.scale:g}"
                    f"{'' if graft.attached else ', removed'}"
                    for name, graft in self.grafts.items()
                ),
                ")",
            ]
        )


def _num_skips(unet: UNet2DConditionModel) -> int:
    """Skip connections: one of the first convolution, and of each ResNet and downsampler."""
    blocks: Any = unet.down_blocks
    return 1 + sum(len(block.resnets) + len(block.downsamplers or ()) for block in blocks)


def _as_diffusers(residuals: Residuals, *, skips: int) -> dict[str, Any]:
    """Residuals as the arguments of diffusers' U-Net; none if there is nothing to add.

    diffusers adds to skip connections and to the middle block only if it is given both.
    """
    found: dict[str, Any] = {}
    if residuals.blocks:
        found["down_intrablock_additional_residuals"] = list(residuals.blocks)
    given = residuals.skips if residuals.mid is None else (*residuals.skips, residuals.mid)
    if given:
        nothing = given[0].new_zeros(())
        found["down_block_additional_residuals"] = residuals.skips or (nothing,) * skips
        found["mid_block_additional_residual"] = nothing if residuals.mid is None else residuals.mid
    if residuals.skips and len(residuals.skips) != skips:
        raise InputError(
            f"These residuals are for an image model with {len(residuals.skips)} skip connections, "
            f"and this one has {skips}; use a control network for this image model."
        )
    return found
