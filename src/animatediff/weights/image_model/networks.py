"""Import diffusers and transformers without the modules that no animation uses.

Both import all their architectures, and with them torch's compiler, distributed training and libraries
for downloads: more than twice what the networks themselves and torch take. These modules run their code
when somebody uses them (``late_imports.py``).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from importlib.metadata import version
from types import ModuleType

from animatediff.weights.image_model.late_imports import late_imports

WAITING = frozenset(
    {
        "accelerate",
        "accelerate.hooks",
        "accelerate.utils",
        "accelerate.utils.modeling",
        "diffusers.hooks",
        "diffusers.hooks.group_offloading",
        "diffusers.models.autoencoders",
        "diffusers.models.controlnets",
        "diffusers.models.transformers",
        "diffusers.models.unets",
        # It imports torchao where that is installed, which takes seconds.
        "diffusers.quantizers.torchao",
        "requests",
        # Of schedulers that are imported with the others; where SciPy is installed, it takes seconds.
        "scipy.integrate",
        "scipy.stats",
        # It imports torch's compiler, for a class that other masks than CLIP's need.
        "torch._dynamo._trace_wrapped_higher_order_op",
        "transformers",
        "transformers.distributed.checkpoint",
        "transformers.distributed.expert_parallel",
        "transformers.distributed.fsdp",
        "transformers.distributed.parallel_utils",
        "transformers.distributed.sharding_utils",
        "transformers.distributed.tensor_parallel",
        "transformers.distributed.utils",
        "transformers.dynamic_module_utils",
        "transformers.generation",
        "transformers.generation.continuous_batching",
        "transformers.generation.continuous_batching.cache",
        "transformers.integrations.deepgemm",
        "transformers.integrations.eager_paged",
        "transformers.integrations.flash_attention",
        "transformers.integrations.flex_attention",
        "transformers.integrations.sonicmoe",
        "transformers.loss.loss_ctc",
        "transformers.loss.loss_d_fine",
        "transformers.loss.loss_deformable_detr",
        "transformers.loss.loss_deimv2",
        "transformers.loss.loss_for_object_detection",
        "transformers.loss.loss_grounding_dino",
        "transformers.loss.loss_lsd",
        "transformers.loss.loss_lw_detr",
        "transformers.loss.loss_rf_detr",
        "transformers.loss.loss_rnnt",
        "transformers.loss.loss_rt_detr",
        "transformers.loss.loss_tdt",
        "transformers.models",
        "transformers.quantizers",
        "transformers.quantizers.auto",
        "transformers.quantizers.quantizers_utils",
        "transformers.utils.chat_template_utils",
        "transformers.utils.quantization_config",
    }
)
"""Modules whose code is run only when it is needed."""
DECORATORS = {"torch._dynamo": "allow_in_graph"}
"""The compiler's one name that diffusers imports: classes that it need not look into."""
ALWAYS = frozenset(
    {
        "diffusers.models.autoencoders",
        "diffusers.models.controlnets",
        "diffusers.models.transformers",
        "diffusers.models.unets",
        "diffusers.quantizers.torchao",
        "scipy.integrate",
        "scipy.stats",
    }
)
"""The part of them that only lists architectures, whatever the version."""
KNOWN = {"diffusers": "0.42", "torch": "2.13", "transformers": "5.23"}
"""The versions whose modules are listed above. With others, a module might use at once what waits."""
_USED = (
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
)
_CONTROL = (
    "diffusers.models.adapter",
    "diffusers.models.controlnets.controlnet",
    "diffusers.models.controlnets.controlnet_union",
)
_SENTENCES = ("transformers.models.bert.modeling_bert",)

_imported: set[str] = set()


def import_networks() -> None:
    """Import the classes of image models; does nothing the second time."""
    _import(_USED)


def import_control_networks() -> None:
    """Import the classes of control networks; does nothing the second time."""
    _import(_CONTROL)


def import_sentence_network() -> None:
    """Import the classes of the network that reads sentences; does nothing the second time."""
    _import(_SENTENCES)


def import_scheduler(module: str) -> ModuleType:
    """Import a module of diffusers' schedulers."""
    _import((module,))
    return sys.modules[module]


def _import(names: Collection[str]) -> None:
    if _imported.issuperset(names):
        return
    known = all(version(name).startswith(f"{number}.") for name, number in KNOWN.items())
    with late_imports(WAITING if known else ALWAYS, decorators=DECORATORS if known else None):
        for name in names:
            importlib.import_module(name)
    _imported.update(names)
