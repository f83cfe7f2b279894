"""The branch B·A·x, a low-rank update of a linear layer, and sets of such branches.

LoRA (Hu et al., arXiv 2106.09685) is how AnimateDiff learns everything but the motion module: the
domain adapter (Sec. 4.1, Eq. 4 of Guo et al., arXiv 2307.04725), MotionLoRA (Sec. 4.3) and, outside
the paper, the personalised styles themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.grafts.weight_delta import Change, LowRankDelta

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""The four matrices of an attention, as diffusers and the published motion modules name them."""

Host = nn.Linear | nn.Conv2d
"""What can carry a low-rank branch."""


class LowRank(nn.Module):
    """The branch B·A·x beside a linear or convolutional host; it begins at zero.

    A (``down``) is random, B (``up``) is zero. A convolutional A looks at what its host looks at; B
    is pointwise. The product is multiplied by ``alpha / rank``.

    Args:
        host: the layer whose shape, device and dtype the branch takes; it is not kept.
        rank: inner width.
        alpha: numerator of the factor; ``None`` means the rank itself, a factor of 1, which is what
            the paper's files assume.

    Raises:
        InputError: the host is neither linear nor an ungrouped convolution, or the rank is below 1.
    """

    def __init__(self, host: nn.Module, *, rank: int, alpha: float | None = None) -> None:
        super().__init__()
        if rank < 1:
            raise InputError(
                f"A low-rank branch of rank {rank} is empty; choose a rank of 1 or more."
            )
        self.rank = rank
        self.alpha = float(rank if alpha is None else alpha)
        down, up = _factors(host, rank=rank)
        weight = cast(Host, host).weight
        self.down = down.to(weight)
        self.up = up.to(weight)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    @property
    def factor(self) -> float:
        """What the product B·A is multiplied by."""
        return self.alpha / self.rank

    def forward(self, inputs: Tensor, output: Tensor) -> Tensor:
        """B·A·x, shaped like the host's ``output``, whose value is not used."""
        residual = self.up(self.down(inputs))
        return residual if self.factor == 1 else self.factor * residual

    def delta(self) -> LowRankDelta:
        """The change of the host's weight that equals the branch."""
        return LowRankDelta(self.down.weight, self.up.weight, alpha=self.alpha)

    def extra_repr(self) -> str:
        """Rank and alpha, for ``repr``."""
        return f"rank={self.rank}, alpha={self.alpha:g}"


def _factors(host: nn.Module, *, rank: int) -> tuple[Host, Host]:
    if isinstance(host, nn.Linear):
        down = nn.Linear(host.in_features, rank, bias=False)
        up = nn.Linear(rank, host.out_features, bias=False)
    elif isinstance(host, nn.Conv2d) and host.groups == 1:
        down = nn.Conv2d(
            host.in_channels,
            rank,
            kernel_size=cast(tuple[int, int], host.kernel_size),
            stride=cast(tuple[int, int], host.stride),
            padding=cast(tuple[int, int], host.padding),
            dilation=cast(tuple[int, int], host.dilation),
            bias=False,
        )
        up = nn.Conv2d(rank, host.out_channels, kernel_size=1, bias=False)
    else:
        raise InputError(
            f"A low-rank branch needs a linear layer or an ungrouped 2-D convolution, not {host}."
        )
    return down, up


class LowRankSet(nn.Module):
    """Low-rank branches on many hosts, as one thing with one scale, such as a LoRA.

    Its state dict has ``{host}.down.weight`` and ``{host}.up.weight`` and nothing else.

    Args:
        hosts: the layers, by dotted path.
        rank: inner width of every branch.
        alpha: see ``LowRank``.
        scale: how much of the branches is added.

    Raises:
        InputError: there are no hosts, or one of them cannot carry the branch.
    """

    def __init__(
        self,
        hosts: Mapping[str, nn.Module],
        *,
        rank: int,
        alpha: float | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.rank = rank
        # All are made before the first is attached: a host that cannot carry one leaves no trace.
        branches = {path: LowRank(host, rank=rank, alpha=alpha) for path, host in hosts.items()}
        for path, branch in branches.items():
            _plant(self, path, branch)
        self.grafts = Grafts(
            {path: Graft(branches[path], scale=scale).attach(host) for path, host in hosts.items()}
        )

    @property
    def scale(self) -> float:
        """How much of the branches is added; setting it takes effect at once."""
        return self.grafts.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self.grafts.scale = scale

    def remove(self) -> None:
        """Take every branch off its host."""
        self.grafts.remove()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank}; {self.grafts!r})"


def _plant(owner: nn.Module, path: str, module: nn.Module) -> None:
    """Register ``module`` in ``owner`` at a dotted path, with empty modules on the way."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in dict(owner.named_children()):
            owner.add_module(name, nn.Module())
        owner = owner.get_submodule(name)
    owner.add_module(leaf, module)


def attention_projections(unet: UNet2DConditionModel) -> dict[str, nn.Linear]:
    """The q, k, v and output projections of every spatial attention, by dotted path.

    This is where the domain adapter sits (Sec. 4.1), and the usual place of image LoRAs.
    """
    from diffusers.models.attention import BasicTransformerBlock

    return {
        f"{path}.{attention}.{projection}": cast(
            nn.Linear, block.get_submodule(f"{attention}.{projection}")
        )
        for path, block in unet.named_modules()
        if isinstance(block, BasicTransformerBlock)
        for attention in ("attn1", "attn2")
        if getattr(block, attention) is not None
        for projection in PROJECTIONS
    }


def changes_of(grafts: Grafts) -> list[Change]:
    """The branches as changes of their hosts' weights, to be merged instead of computed."""
    return [
        Change(graft.host, "weight", cast(LowRank, graft.branch).delta())
        for graft in grafts.values()
    ]
