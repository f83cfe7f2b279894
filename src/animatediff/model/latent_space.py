"""Typed access to an autoencoder's latent space; diffusers' annotations lack the return types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution


def posterior_of(
    autoencoder: AutoencoderKL, pictures: Float[Tensor, "b 3 h w"]
) -> DiagonalGaussianDistribution:
    """Return the distribution of the latents of pictures in [-1, 1], not scaled."""
    return cast(Any, autoencoder.encode(pictures)).latent_dist


def picture_of(
    autoencoder: AutoencoderKL, latents: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b 3 h2 w2"]:
    """Decode unscaled latents to pictures, about in [-1, 1]."""
    return cast(Any, autoencoder).decode(latents).sample
