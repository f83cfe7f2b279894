"""The table: every published kind of file, by a name of ours."""

# ruff: noqa: E501 - the table reads best with one to a line

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.weights.synthetic.camera import cameractrl, cmcm, omcm, omcm_bare
from tests.weights.synthetic.control import (
    control_lora,
    controlnet,
    ctrlora,
    difference,
    ldm_controlnet,
    lllite,
    sparse_control,
    sparse_control_diffusers,
    svd_controlnet,
    t2i_adapter,
    t2i_diffusers,
    union,
)
from tests.weights.synthetic.finishing import (
    anime_video,
    film,
    first_esrgan,
    real_esrgan,
    real_plksr,
    rife,
)
from tests.weights.synthetic.image_models import (
    ldm_unet,
    ldm_vae,
    single_file,
    text_shapes,
    unet,
    vae_shapes,
)
from tests.weights.synthetic.low_rank import (
    attention_layers,
    comfy_extracted,
    domain_adapter,
    dora,
    dotted_names,
    full_diff,
    glora,
    ia3,
    kohya,
    kohya_lora,
    loha,
    lokr,
    lycoris_text,
    motion_director,
    motion_lora,
    motion_lora_diffusers,
    motion_lora_kohya,
    motion_lora_peft,
    oft,
    oft_diag,
    oft_kohya,
    oft_onetrainer,
    oft_peft,
    our_lora,
    peft_named,
    processor_names,
    sgm_lora,
)
from tests.weights.synthetic.motion_modules import (
    animatelcm_i2v,
    authors_motion,
    diffusers_motion,
    hotshot_motion,
    our_motion,
    pia,
    whole_unet_ddp,
)
from tests.weights.synthetic.others import image_encoder, ip_adapter, taesd_diffusers, taesd_part
from tests.weights.synthetic.sample import Sample, Shapes, Size


def always(shapes: Shapes) -> Callable[[Size], Shapes]:
    """The same names and shapes at every size."""
    return lambda size: dict(shapes)


_CONFIG = {"animatediff_config": {"unet_additional_kwargs": {"use_motion_module": True}}}
_EMBEDDING = {"string_to_token": {"*": 265}, "name": "fox", "step": 499, "sd_checkpoint": None}
_OURS = {
    "kind": "motion",
    "family": "v3",
    "branch": "transformer",
    "mid": "false",
    "norm_scope": "frame",
    "resnet_norm_scope": "frame",
    "heads": "8",
}

LIGHTNING = ("lightning-1step", "lightning-2step", "lightning-4step", "lightning-8step")

SAMPLES: Mapping[str, Sample] = {
    # Image models, whole and in parts.
    "sd15": Sample("checkpoint", "sd15", single_file("sd15"), layout="ldm", base="sd15", wrapper="state_dict", extra={"global_step": 840000}),
    "sd15-inpainting": Sample("checkpoint", "sd15", single_file("inpainting"), version="inpainting", layout="ldm", base="sd15"),
    "sd2": Sample("checkpoint", "sd2", single_file("sd2"), layout="ldm", base="sd2", wrapper="state_dict"),
    "sdxl": Sample("checkpoint", "sdxl", single_file("sdxl"), layout="ldm", base="sdxl"),
    "unet-sd15": Sample("unet", "sd15", unet("sd15"), layout="diffusers", base="sd15"),
    "unet-sd2": Sample("unet", "sd2", unet("sd2"), layout="diffusers", base="sd2"),
    "unet-sdxl": Sample("unet", "sdxl", unet("sdxl"), layout="diffusers", base="sdxl"),
    "unet-sd15-ldm": Sample("unet", "sd15", ldm_unet("sd15"), layout="ldm", base="sd15"),
    "text-sd15": Sample("text-encoder", "sd15", lambda size: dict(text_shapes("sd15", size)), layout="diffusers", base="sd15", also=("sdxl",)),
    "text-sd2": Sample("text-encoder", "sd2", lambda size: dict(text_shapes("sd2", size)), layout="diffusers", base="sd2"),
    "text-sdxl-2": Sample("text-encoder", "sdxl", lambda size: dict(text_shapes("sdxl-2", size)), layout="diffusers", base="sdxl"),
    "vae": Sample("vae", "sd", lambda size: dict(vae_shapes(size)), layout="diffusers", also=("sdxl",)),
    "vae-ldm": Sample("vae", "sd", ldm_vae(prefix=""), layout="ldm", also=("sdxl",), wrapper="state_dict"),
    "vae-ldm-prefixed": Sample("vae", "sd", ldm_vae(), layout="ldm", also=("sdxl",)),
    "taesd": Sample("tiny-autoencoder", "sd", taesd_diffusers, layout="diffusers", also=("sdxl",)),
    "taesd-encoder": Sample("tiny-autoencoder", "sd", taesd_part("encoder"), version="encoder", layout="author", also=("sdxl",), dtype="F32"),
    "taesd-decoder": Sample("tiny-autoencoder", "sd", taesd_part("decoder"), version="decoder", layout="author", also=("sdxl",), dtype="F32"),
    # Motion modules.
    "motion-v1": Sample("motion", "v1", authors_motion(rows=24), layout="authors", base="sd15"),
    "motion-v2": Sample("motion", "v2", authors_motion(mid=True), layout="authors", base="sd15", also=(*LIGHTNING, "longanimatediff")),
    "motion-v3": Sample("motion", "v3", authors_motion(), layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG),
    "motion-sdxl": Sample("motion", "sdxl-beta", authors_motion("sdxl"), layout="authors", base="sdxl", dtype="F32"),
    "motion-lcm": Sample("motion", "animatelcm", authors_motion(rows=None, mid=True), version="t2v", layout="authors", base="sd15", also=("v2",)),
    "motion-lcm-i2v": Sample("motion", "animatelcm-i2v", animatelcm_i2v, version="i2v", layout="authors", base="sd15"),
    "motion-lightning": Sample("motion", "v2", authors_motion(mid=True), layout="authors", base="sd15", also=(*LIGHTNING, "longanimatediff")),
    "motion-lightning-diffusers": Sample("motion", "v2", diffusers_motion(mid=True), layout="diffusers", base="sd15", also=(*LIGHTNING, "animatelcm")),
    "motion-hotshot": Sample("motion", "hotshot-xl", hotshot_motion, layout="hotshot", base="sdxl"),
    "motion-long": Sample("motion", "longanimatediff", authors_motion(rows=64, mid=True), layout="authors", base="sd15"),
    "motion-pia": Sample("motion", "pia", pia, layout="authors", base="sd15", wrapper="state_dict"),
    "motion-v1-diffusers": Sample("motion", "v1", diffusers_motion(rows=24), layout="diffusers", base="sd15"),
    "motion-v2-diffusers": Sample("motion", "v2", diffusers_motion(mid=True), layout="diffusers", base="sd15", also=(*LIGHTNING, "animatelcm")),
    "motion-v3-diffusers": Sample("motion", "v3", diffusers_motion(), layout="diffusers", base="sd15"),
    "motion-sdxl-diffusers": Sample("motion", "sdxl-beta", diffusers_motion("sdxl"), layout="diffusers", base="sdxl"),
    "motion-ours": Sample("motion", "v3", our_motion, layout="ours", base="sd15", metadata=_OURS),
    "motion-trained": Sample("motion", "v3", whole_unet_ddp, layout="authors", base="sd15", version="training checkpoint", dtype="F32", wrapper="state_dict", extra={"epoch": 3, "global_step": 100}, also=("v1",)),
    # Low-rank files.
    "domain-adapter": Sample("adapter", "v3", domain_adapter, layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG, rank=128),
    "domain-adapter-diffusers": Sample("adapter", "v3", lambda size: processor_names(attention_layers("sd15", size), rank=128, prefix="unet."), layout="diffusers", base="sd15", rank=128),
    "domain-adapter-kohya": Sample("adapter", "v3", lambda size: kohya(attention_layers("sd15", size), rank=128, alpha=False), layout="kohya", base="sd15", rank=128),
    "motion-lora-v2": Sample("motion-lora", "v2", motion_lora(), layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG, rank=64),
    "motion-lora-diffusers": Sample("motion-lora", "v2", motion_lora_diffusers, layout="diffusers", base="sd15", rank=64),
    "motion-lora-kohya": Sample("motion-lora", "v2", motion_lora_kohya, layout="kohya", base="sd15", rank=64),
    "motion-lora-peft": Sample("motion-lora", "v3", motion_lora_peft, layout="peft", base="sd15", rank=32, also=("v1",)),
    "motion-director": Sample("motion-lora", "v2", motion_director, version="motiondirector", layout="authors", base="sd15", rank=32),
    "lora-sd15": Sample("lora", "sd15", kohya_lora("sd15"), version="lora", layout="kohya", base="sd15", rank=16),
    "lora-sd2": Sample("lora", "sd2", kohya_lora("sd2"), version="lora", layout="kohya", base="sd2", rank=16),
    "lora-sdxl": Sample("lora", "sdxl", kohya_lora("sdxl"), version="lora", layout="kohya", base="sdxl", rank=16),
    "lora-sdxl-sgm": Sample("lora", "sdxl", sgm_lora, version="lora", layout="kohya-sgm", base="sdxl", rank=16),
    "locon": Sample("lora", "sd15", kohya_lora("sd15", conv=True), version="locon", layout="kohya", base="sd15", rank=16),
    "loha": Sample("lora", "sd15", loha, version="loha", layout="kohya", base="sd15", rank=8),
    "lokr": Sample("lora", "sd15", lokr, version="lokr", layout="kohya", base="sd15", rank=8),
    "dora": Sample("lora", "sd15", dora, version="dora", layout="kohya", base="sd15", rank=16),
    "oft": Sample("lora", "sd15", oft, version="oft", layout="kohya", base="sd15"),
    "oft-diag": Sample("lora", "sd15", oft_diag, version="oft", layout="kohya", base="sd15"),
    "oft-kohya": Sample("lora", "sd15", oft_kohya, version="oft", layout="kohya", base="sd15"),
    "oft-peft": Sample("lora", "sd15", oft_peft, version="oft", layout="peft", base="sd15"),
    "oft-onetrainer": Sample("lora", "sd15", oft_onetrainer, version="oft", layout="kohya", base="sd15"),
    "glora": Sample("lora", "sd15", glora, version="glora", layout="kohya", base="sd15"),
    "ia3": Sample("lora", "sd15", ia3, version="ia3", layout="kohya", base="sd15"),
    "full-diff": Sample("lora", "sd15", full_diff, version="full-diff", layout="kohya", base="sd15"),
    "lora-peft": Sample("lora", "sd15", lambda size: dotted_names(attention_layers("sd15", size), rank=4, prefix="unet.", words=("lora_A", "lora_B")), version="lora", layout="peft", base="sd15", rank=4),
    "lora-peft-raw": Sample("lora", "sdxl", lambda size: dotted_names(attention_layers("sdxl", size), rank=4, prefix="base_model.model.", words=("lora_A", "lora_B")), version="lora", layout="peft", base="sdxl", rank=4),
    "lora-peft-named": Sample("lora", "sd15", peft_named(lambda size: dotted_names(attention_layers("sd15", size), rank=4, prefix="base_model.model.", words=("lora_A", "lora_B")), adapter="mystyle"), version="lora", layout="peft", base="sd15", rank=4),
    "motion-lora-peft-named": Sample("motion-lora", "v3", peft_named(motion_lora_peft, adapter="zoom_in"), layout="peft", base="sd15", rank=32, also=("v1",)),
    "lora-comfy": Sample("lora", "sd15", comfy_extracted("sd15"), version="lora", layout="comfy", base="sd15", rank=16),
    "lora-comfy-sdxl": Sample("lora", "sdxl", comfy_extracted("sdxl"), version="lora", layout="comfy", base="sdxl", rank=16),
    "lora-lycoris": Sample("lora", "sd15", lycoris_text, version="lora", layout="lycoris", base="sd15", rank=16),
    "lora-diffusers": Sample("lora", "sd15", lambda size: dotted_names(attention_layers("sd15", size), rank=4, prefix="unet.", words=("lora.down", "lora.up")), version="lora", layout="diffusers", base="sd15", rank=4),
    "lora-diffusers-old": Sample("lora", "sd15", lambda size: processor_names(attention_layers("sd15", size), rank=4, prefix="unet."), version="lora", layout="diffusers", base="sd15", rank=4),
    "lora-lcm": Sample("lora", "sd15", kohya_lora("sd15", rank=64, text=False), version="lora", layout="kohya", base="sd15", rank=64),
    "lora-ours": Sample("lora", "sd15", our_lora, version="lora", layout="ours", base="sd15", rank=16, metadata={"rank": "16", "alpha": "16"}),
    # Control.
    "sparse-rgb": Sample("sparse-control", "v3", sparse_control("rgb"), version="rgb", layout="authors", base="sd15", dtype="F32", wrapper="controlnet", extra=_CONFIG),
    "sparse-scribble": Sample("sparse-control", "v3", sparse_control("scribble"), version="scribble", layout="authors", base="sd15", dtype="F32", wrapper="controlnet", extra=_CONFIG),
    "sparse-rgb-diffusers": Sample("sparse-control", "v3", sparse_control_diffusers("rgb"), version="rgb", layout="diffusers", base="sd15"),
    "sparse-scribble-diffusers": Sample("sparse-control", "v3", sparse_control_diffusers("scribble"), version="scribble", layout="diffusers", base="sd15"),
    "controlnet": Sample("controlnet", "sd15", controlnet("sd15"), layout="diffusers", base="sd15"),
    "controlnet-ldm": Sample("controlnet", "sd15", ldm_controlnet("sd15"), layout="ldm", base="sd15", wrapper="state_dict"),
    "controlnet-ldm-bare": Sample("controlnet", "sd15", ldm_controlnet("sd15", prefix=""), layout="ldm", base="sd15", dtype="BF16"),
    # controlGIF: trained for AnimateDiff, and an ordinary ControlNet in its file.
    "controlnet-animatediff": Sample("controlnet", "sd15", ldm_controlnet("sd15"), layout="ldm", base="sd15", dtype="F32"),
    "controlnet-sd2": Sample("controlnet", "sd2", controlnet("sd2"), layout="diffusers", base="sd2"),
    "controlnet-sd2-ldm": Sample("controlnet", "sd2", ldm_controlnet("sd2"), layout="ldm", base="sd2", dtype="F32"),
    "controlnet-sdxl": Sample("controlnet", "sdxl", controlnet("sdxl"), layout="diffusers", base="sdxl"),
    "controlnet-sdxl-ldm": Sample("controlnet", "sdxl", ldm_controlnet("sdxl"), layout="ldm", base="sdxl"),
    "control-difference": Sample("controlnet", "sd15", difference, version="difference", layout="ldm", base="sd15"),
    "control-lora": Sample("controlnet", "sdxl", control_lora, version="control-lora", layout="ldm", base="sdxl"),
    "control-union": Sample("controlnet", "sdxl", union(6), version="union", layout="diffusers", base="sdxl"),
    "control-union-promax": Sample("controlnet", "sdxl", union(8), version="union-promax", layout="diffusers", base="sdxl"),
    "control-lllite": Sample("controlnet", "", lllite, version="lllite", layout="kohya"),
    "control-ctrlora": Sample("controlnet", "", ctrlora, version="ctrlora", layout="ldm"),
    "control-svd": Sample("controlnet", "", svd_controlnet, version="svd", layout="diffusers"),
    "t2i-adapter": Sample("t2i-adapter", "sd15", t2i_adapter("full"), version="full", layout="authors", base="sd15"),
    "t2i-adapter-grey": Sample("t2i-adapter", "sd15", t2i_adapter("full", grey=True), version="full", layout="authors", base="sd15"),
    "t2i-adapter-light": Sample("t2i-adapter", "sd15", t2i_adapter("light"), version="light", layout="authors", base="sd15"),
    "t2i-adapter-diffusers": Sample("t2i-adapter", "sd15", t2i_diffusers("full"), version="full", layout="diffusers", base="sd15"),
    "t2i-adapter-light-diffusers": Sample("t2i-adapter", "sd15", t2i_diffusers("light"), version="light", layout="diffusers", base="sd15"),
    "t2i-adapter-sdxl": Sample("t2i-adapter", "sdxl", t2i_adapter("xl"), version="full", layout="authors", base="sdxl"),
    "t2i-adapter-sdxl-diffusers": Sample("t2i-adapter", "sdxl", t2i_diffusers("xl"), version="full", layout="diffusers", base="sdxl"),
    "ip-adapter": Sample("ip-adapter", "sd15", ip_adapter("sd15"), layout="authors", base="sd15", wrapper="nested"),
    "ip-adapter-sdxl": Sample("ip-adapter", "sdxl", ip_adapter("sdxl"), layout="authors", base="sdxl", wrapper="nested"),
    "image-encoder": Sample("image-encoder", "", image_encoder, layout="diffusers"),
    # Cameras and objects.
    "camera-cameractrl": Sample("camera", "", cameractrl, version="cameractrl", layout="authors", base="sd15", dtype="F32", wrapper="nested", extra={"epoch": 1, "global_step": 50000}),
    "camera-cmcm": Sample("camera", "", cmcm, version="cmcm", layout="authors", base="sd15", dtype="F32", wrapper="state_dict", extra={"epoch": 1, "global_step": 50000}),
    "object-motion": Sample("object-motion", "", omcm, layout="authors", base="sd15", dtype="F32", wrapper="nested", extra={"epoch": 1, "global_step": 50000}),
    "object-motion-bare": Sample("object-motion", "", omcm_bare, layout="authors", base="sd15", dtype="F32"),
    # Textual inversions.
    "embedding-a1111": Sample("embedding", "sd15", always({"emb_params": (4, 768)}), layout="a1111", base="sd15", dtype="F32"),
    "embedding-a1111-pickle": Sample("embedding", "sd15", always({"string_to_param.*": (4, 768)}), layout="a1111", base="sd15", dtype="F32", wrapper="a1111-embedding", extra=_EMBEDDING),
    "embedding-sd2": Sample("embedding", "sd2", always({"emb_params": (8, 1024)}), layout="a1111", base="sd2", dtype="F32"),
    "embedding-sdxl": Sample("embedding", "sdxl", always({"clip_l": (4, 768), "clip_g": (4, 1280)}), layout="sdxl", base="sdxl"),
    "embedding-diffusers": Sample("embedding", "sd15", always({"<fox>": (768,)}), layout="diffusers", base="sd15", dtype="F32"),
    # Finishing.
    "esrgan": Sample("upscaler", "", real_esrgan, version="esrgan", dtype="F32", wrapper="state_dict"),
    "esrgan-first": Sample("upscaler", "", first_esrgan, version="esrgan", dtype="F32"),
    "animevideo": Sample("upscaler", "", anime_video, version="compact", dtype="F32"),
    "realplksr": Sample("upscaler", "", real_plksr, version="realplksr", dtype="F32"),
    "rife": Sample("interpolator", "", rife, version="rife", dtype="F32", wrapper="ddp"),
    "film": Sample("interpolator", "", film, version="film"),
}  # fmt: skip
"""Every published kind of file, by a name of ours."""
