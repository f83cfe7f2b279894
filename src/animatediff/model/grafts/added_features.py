"""Features that are added to the outputs of layers of a U-Net while they are given."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.errors import InputError
from animatediff.model.animated_unet import motion_sites

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Plane = Float[Tensor, "bf c h w"]


class AddedFeatures:
    """Adds a plane to the output of each of several layers, and nothing while none is given.

    Args:
        layers: where.
        first: add before whatever else changes the output of a layer, such as a motion module.
    """

    def __init__(self, layers: Sequence[nn.Module], *, first: bool) -> None:
        self._planes: Sequence[Plane] = ()
        self._handles: list[RemovableHandle] = []
        for index, layer in enumerate(layers):
            self._handles.append(layer.register_forward_hook(self._adder(index), prepend=first))

    @contextmanager
    def given(self, planes: Sequence[Plane]) -> Generator[None]:
        """Add these planes, one for each layer, inside this context.

        Raises:
            InputError: there is another number of planes.
        """
        if len(planes) != len(self._handles):
            raise InputError(
                f"{len(planes)} features were given for {len(self._handles)} layers; use a network "
                "that was made for this image model."
            )
        before = self._planes
        self._planes = planes
        try:
            yield
        finally:
            self._planes = before

    def remove(self) -> None:
        """Take the hooks off the layers; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _adder(self, index: int) -> Any:
        def add(_layer: nn.Module, _inputs: Any, output: Any) -> Any:
            if not self._planes:
                return None
            if isinstance(output, tuple):  # diffusers' transformers return (sample,)
                return (output[0] + self._planes[index].to(output[0].dtype), *output[1:])
            if isinstance(output, Tensor):
                return output + self._planes[index].to(output.dtype)
            return type(output)(sample=output.sample + self._planes[index].to(output.sample.dtype))

        return add


def last_down_layers(unet: UNet2DConditionModel) -> list[nn.Module]:
    """The layer of each down block that its last motion module follows."""
    found: dict[str, nn.Module] = {}
    for site in motion_sites(unet, mid=False):
        side, block, _ = site.name.split("_")
        if side == "down":
            found[block] = site.layer
    return list(found.values())
