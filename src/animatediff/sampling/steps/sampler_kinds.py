"""Every sampler by its name: which scheduler of diffusers it is, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from animatediff.sampling.steps.sampler_names import SchedulerName
from animatediff.weights.families import Spacing

LCM_STEPS = 100
"""The steps of diffusion that a latent consistency model was distilled from, unless it says so."""

_HOME = "diffusers.schedulers.scheduling_"


@dataclass(frozen=True)
class SamplerKind:
    """One sampler.

    Attributes:
        label: what other programs call it in their metadata.
        home: the class in diffusers, imported only when chosen.
        options: its settings, besides the betas.
        noisy: whether its steps draw fresh noise.
        spread: how other programs call the spacing of its noise levels; empty for the plain one.
        spaced: whether a motion module's family may change the spacing of its timesteps.
        evaluations: model evaluations in each step; the last step has one.
        memory: steps that its scheduler combines, if it does not count the steps taken itself; else 0.
    """

    label: str
    home: str
    options: Mapping[str, Any]
    noisy: bool = False
    spread: str = ""
    spaced: bool = True
    evaluations: int = 1
    memory: int = 0

    def options_for(self, *, spacing: Spacing | None, lcm_steps: int) -> dict[str, Any]:
        """Return the scheduler's settings for a motion module's family."""
        options = dict(self.options)
        if "original_inference_steps" in options:
            options["original_inference_steps"] = lcm_steps
        if spacing is not None and self.spaced:
            options["timestep_spacing"] = spacing
            if spacing == "leading":
                options["steps_offset"] = 1
        return options


KARRAS = ("Karras", {"use_karras_sigmas": True})
"""Noise levels as in arXiv 2206.00364, Eq. 5."""
EXPONENTIAL = ("Exponential", {"use_exponential_sigmas": True})
TRAILING = ("SGM Uniform", {"timestep_spacing": "trailing"})
"""Even timesteps that begin at the last one, as in arXiv 2305.08891."""


def _spread(kind: SamplerKind, spread: tuple[str, Mapping[str, Any]]) -> SamplerKind:
    """A sampler with its noise levels spaced otherwise."""
    name, options = spread
    return SamplerKind(
        kind.label,
        kind.home,
        {**kind.options, **options},
        noisy=kind.noisy,
        spread=name,
        spaced=kind.spaced and "timestep_spacing" not in options,
        evaluations=kind.evaluations,
        memory=kind.memory,
    )


def _multistep(label: str, order: int, *, noisy: bool = False) -> SamplerKind:
    return SamplerKind(
        label,
        f"{_HOME}dpmsolver_multistep:DPMSolverMultistepScheduler",
        {
            "algorithm_type": "sde-dpmsolver++" if noisy else "dpmsolver++",
            "solver_order": order,
        },
        noisy=noisy,
    )


# The paper's sampler as its authors run it: the timesteps of 25 steps are 961, 921, ..., 1.
_DDIM = SamplerKind(
    "DDIM",
    f"{_HOME}ddim:DDIMScheduler",
    {
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "set_alpha_to_one": True,
        "clip_sample": False,
    },
)
_EULER = SamplerKind("Euler", f"{_HOME}euler_discrete:EulerDiscreteScheduler", {})
_EULER_A = SamplerKind(
    "Euler a",
    f"{_HOME}euler_ancestral_discrete:EulerAncestralDiscreteScheduler",
    {},
    noisy=True,
)
_HEUN = SamplerKind("Heun", f"{_HOME}heun_discrete:HeunDiscreteScheduler", {}, evaluations=2)
_LMS = SamplerKind("LMS", f"{_HOME}lms_discrete:LMSDiscreteScheduler", {}, memory=4)
_DPM2 = SamplerKind("DPM2", f"{_HOME}k_dpm_2_discrete:KDPM2DiscreteScheduler", {}, evaluations=2)
_DPM2_A = SamplerKind(
    "DPM2 a",
    f"{_HOME}k_dpm_2_ancestral_discrete:KDPM2AncestralDiscreteScheduler",
    {},
    noisy=True,
    evaluations=2,
)
_2M, _2M_SDE = _multistep("DPM++ 2M", 2), _multistep("DPM++ 2M SDE", 2, noisy=True)
_3M_SDE = _multistep("DPM++ 3M SDE", 3, noisy=True)
_SDE = SamplerKind(
    "DPM++ SDE",
    f"{_HOME}dpmsolver_singlestep:DPMSolverSinglestepScheduler",
    {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "lower_order_final": True},
    noisy=True,
    spaced=False,
)

SAMPLERS: Mapping[SchedulerName, SamplerKind] = {
    "ddim": _DDIM,
    "ddpm": SamplerKind("DDPM", f"{_HOME}ddpm:DDPMScheduler", {"clip_sample": False}, noisy=True),
    "euler": _EULER,
    "euler-karras": _spread(_EULER, KARRAS),
    "euler-trailing": _spread(_EULER, TRAILING),
    "euler-a": _EULER_A,
    "euler-a-trailing": _spread(_EULER_A, TRAILING),
    "heun": _HEUN,
    "heun-karras": _spread(_HEUN, KARRAS),
    "lms": _LMS,
    "lms-karras": _spread(_LMS, KARRAS),
    "dpm2": _DPM2,
    "dpm2-karras": _spread(_DPM2, KARRAS),
    "dpm2-a": _DPM2_A,
    "dpm2-a-karras": _spread(_DPM2_A, KARRAS),
    "dpm++2m": _2M,
    "dpm++2m-karras": _spread(_2M, KARRAS),
    "dpm++2m-exponential": _spread(_2M, EXPONENTIAL),
    "dpm++2m-trailing": _spread(_2M, TRAILING),
    "dpm++2m-sde": _2M_SDE,
    "dpm++2m-sde-karras": _spread(_2M_SDE, KARRAS),
    "dpm++2m-sde-exponential": _spread(_2M_SDE, EXPONENTIAL),
    "dpm++2m-sde-trailing": _spread(_2M_SDE, TRAILING),
    "dpm++3m-sde": _3M_SDE,
    "dpm++3m-sde-karras": _spread(_3M_SDE, KARRAS),
    "dpm++3m-sde-exponential": _spread(_3M_SDE, EXPONENTIAL),
    "dpm++sde": _SDE,
    "dpm++sde-karras": _spread(_SDE, KARRAS),
    "unipc": SamplerKind("UniPC", f"{_HOME}unipc_multistep:UniPCMultistepScheduler", {}),
    # Its steps are some of those that the model was distilled from, so nothing else spaces them.
    "lcm": SamplerKind(
        "LCM",
        f"{_HOME}lcm:LCMScheduler",
        {"original_inference_steps": LCM_STEPS},
        noisy=True,
        spaced=False,
    ),
}
