"""What AnimateDiff trains, and the layers it is attached to (Sec. 4.1-4.3)."""

from animatediff.model.animated_unet import AnimatedUNet, Branch, Site, motion_sites
from animatediff.model.clip import Clip
from animatediff.model.domain_adapter import attach_domain_adapter
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.grafts.low_rank import (
    LowRank,
    LowRankSet,
    attention_projections,
)
from animatediff.model.grafts.merging import exchanged, merged
from animatediff.model.motion_lora import attach_motion_lora, temporal_projections
from animatediff.model.motion_module import MotionModule, NormScope
from animatediff.model.temporal_conv import TemporalConv

__all__ = [
    "AnimatedUNet",
    "Branch",
    "Clip",
    "Graft",
    "Grafts",
    "LowRank",
    "LowRankSet",
    "MotionModule",
    "NormScope",
    "Site",
    "TemporalConv",
    "attach_domain_adapter",
    "attach_motion_lora",
    "attention_projections",
    "exchanged",
    "merged",
    "motion_sites",
    "temporal_projections",
]
