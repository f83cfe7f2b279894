"""Stage ``autoencoder``: the latent space of the built-in world, and later only its decoder.

Latent diffusion needs small and smooth latents (arXiv 2112.10752, Sec. 3.1). Pictures are composited on
random backgrounds, so that the autoencoder does not only learn white ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from animatediff.model.latent_space import picture_of, posterior_of
from animatediff.training.lessons.lesson import numbers_themselves
from animatediff.world.art.stills import rows, to_model_range


def new_autoencoder() -> AutoencoderKL:
    """The built-in autoencoder: 8 times smaller, 12 latent channels, 3.1 M parameters.

    It is initialised as a blur that keeps colours (``begin_as_blur``), with nearly noiseless latents.
    With the usual initialisation, outlines are learned first and stay grey for a long time.
    """
    build: Any = AutoencoderKL  # its annotations allow one block only
    autoencoder: AutoencoderKL = build(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 96, 128),
        layers_per_block=1,
        latent_channels=12,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )
    assert autoencoder.quant_conv is not None
    assert autoencoder.quant_conv.bias is not None
    begin_as_blur(autoencoder)
    with torch.no_grad():
        _, log_variance = autoencoder.quant_conv.bias.chunk(2)
        log_variance.fill_(-6.0)
        autoencoder.quant_conv.weight.chunk(2)[1].zero_()
    return autoencoder


@torch.no_grad()
def begin_as_blur(autoencoder: AutoencoderKL) -> None:
    """Initialise residual branches with zero, and other layers to pass their channels on.

    Half of the random initialisation is kept, so that channels differ from each other.
    """
    inner: set[nn.Module] = set()
    for block in autoencoder.modules():
        if isinstance(block, ResnetBlock2D):
            inner |= {block.conv1, block.conv2}
            block.conv2.weight.zero_()
    for layer in autoencoder.modules():
        if isinstance(layer, nn.Conv2d) and layer not in inner:
            passed = torch.zeros_like(layer.weight)
            channels = range(min(layer.in_channels, layer.out_channels))
            if layer.stride[0] == 2:
                passed[channels, channels, :2, :2] = 0.25
            else:
                middle = layer.kernel_size[0] // 2
                passed[channels, channels, middle, middle] = 1
            layer.weight.mul_(0.5).add_(passed)


def edges(picture: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
    """Return differences of vertical and horizontal neighbours."""
    return picture.diff(dim=2), picture.diff(dim=3)


@dataclass
class AutoencoderLesson:
    """Train reconstruction: L1 and squared error, edges, mean colours, and a small KL term.

    Without the term on the mean colour of each 8x8 block, an autoencoder learns outlines first and
    leaves them grey for a long time.

    With ``decoder_only`` the encoder and its latents do not change, so that models trained on them stay
    valid.
    """

    autoencoder: AutoencoderKL
    pictures: UInt8[np.ndarray, "pictures size size 4"]
    decoder_only: bool = False
    kl_weight: float = 1e-5

    fetch = staticmethod(numbers_themselves)

    def __post_init__(self) -> None:
        self.learns: nn.Module = self.autoencoder
        self.size = len(self.pictures)
        frozen = (
            (self.autoencoder.encoder, self.autoencoder.quant_conv) if self.decoder_only else ()
        )
        for module in frozen:
            if module is not None:
                module.requires_grad_(False)

    def losses(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of the loss, and the PSNR of the reconstructions."""
        count = len(indices)
        colour = torch.rand(count, 3, generator=generator) * 2 - 1
        white = torch.rand(count, 1, generator=generator) < 0.9
        flipped = torch.rand(count, generator=generator) < 0.5
        pictures = rows(self.pictures, indices)
        pictures[flipped.numpy()] = pictures[flipped.numpy(), :, ::-1]
        target = to_model_range(pictures, torch.where(white, torch.ones(3), colour))
        target = target.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(not self.decoder_only):
            posterior = posterior_of(self.autoencoder, target)
            noise = torch.randn(posterior.mean.shape, generator=generator)
            latents = posterior.mean + posterior.std * noise
        restored = picture_of(self.autoencoder, latents).float()
        error = restored - target
        squared = error.square().mean()
        sharpness = sum((e.abs().mean() for e in edges(error)), torch.zeros(()))
        colours = nn.functional.avg_pool2d(error, 8).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = error.abs().mean() + 2 * squared + 0.5 * sharpness + colours + self.kl_weight * kl
        # The range is [-1, 1], so the peak of the signal is 2.
        psnr = 10 * torch.log10(4 / squared)
        return {"loss": loss, "squared": squared, "kl": kl, "psnr": psnr}
