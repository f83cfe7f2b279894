"""Every published kind of file, made up: its exact names, shapes, wrappers and dtypes.

The names and shapes come from the classes of diffusers and transformers, built without storage from
their real configurations, and from the tables of the authors' code where those have no class. A
real-sized file costs nothing, because its numbers are a hole on the disk (``write_sparse``); at
reduced width (``size="small"``: narrow channels, few text layers, the real widths of the text) the
same names carry real random numbers (``tensors``, ``write``, ``write_pickle``, ``write_folder``).
"""

from __future__ import annotations

from tests.weights.synthetic.image_models import (
    ldm_unet_name,
    ldm_vae_name,
    text_config,
    unet_config,
    vae_config,
)
from tests.weights.synthetic.motion_modules import adapter_config
from tests.weights.synthetic.sample import Sample, Shape, Size
from tests.weights.synthetic.samples import SAMPLES
from tests.weights.synthetic.writing import (
    shapes_of,
    tensors,
    write,
    write_adapter_folder,
    write_folder,
    write_header,
    write_pickle,
    write_sparse,
)

__all__ = [
    "SAMPLES",
    "Sample",
    "Shape",
    "Size",
    "adapter_config",
    "ldm_unet_name",
    "ldm_vae_name",
    "shapes_of",
    "tensors",
    "text_config",
    "unet_config",
    "vae_config",
    "write",
    "write_adapter_folder",
    "write_folder",
    "write_header",
    "write_pickle",
    "write_sparse",
]
