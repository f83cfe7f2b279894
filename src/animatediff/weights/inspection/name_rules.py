"""Tables of rules that identify files by their tensor names, the most specific first.

Fragments are searched in the names of all tensors, with every number written ``#``. ``^`` is the
beginning of a name and ``$`` its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from animatediff.weights.inspection.kinds import Kind
from animatediff.weights.names.layouts import MOTION_LAYOUTS

Fragments = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A rule that recognises one kind of file.

    Attributes:
        kind: the kind.
        because: the reason to print.
        needs: groups; names must contain one fragment of each.
        lacks: fragments that names must not contain.
        layout: the layout of the names.
        family: the family, if names determine it.
        version: the variant, if names determine it.
    """

    kind: Kind
    because: str
    needs: tuple[Fragments, ...]
    lacks: Fragments = ()
    layout: str = ""
    family: str = ""
    version: str = ""


@dataclass(frozen=True)
class Trait:
    """A property of a file whose kind is known, such as a LoRA's type or naming.

    Attributes:
        name: the word.
        because: the reason to print.
        any_of: fragments; names must contain one.
    """

    name: str
    because: str
    any_of: Fragments


MOTION_PLACES = (
    *dict.fromkeys(layout.container for layout in MOTION_LAYOUTS.values()),
    "temporal_transformer",
)
LORA_MARKS = (
    *(".lora_down.", ".lora_up.", "_lora.down.", "_lora.up.", ".lora_A.", ".lora_B."),
    *(".lora.down.", ".lora.up.", ".down.weight$", ".lora_mid.", "_lora.weight$"),
)
LYCORIS_MARKS = (
    *(".hada_w#_a$", ".lokr_w#$", ".lokr_w#_a$", ".oft_blocks$", ".oft_diag$", ".on_input$"),
    *(".diff$", ".diff_b$", ".dora_scale$", ".a#.weight$", ".oft_R."),
)

_TRAINED = ("^", "^params_ema.", "^params.")
"""What is before the names of an upscaler's tensors."""


def _trained(*names: str) -> Fragments:
    """Fragments for names at the beginning, or below a trainer's table."""
    return tuple(f"{before}{name}" for name in names for before in _TRAINED)


RULES: tuple[Rule, ...] = (
    Rule(
        "upscaler",
        "it has the dense blocks of ESRGAN",
        (
            _trained(
                "body.#.rdb#.conv#.weight$",
                "RRDB_trunk.#.RDB#.conv#.weight$",
                "model.#.sub.#.RDB#.conv#.#.weight$",
            ),
        ),
        version="esrgan",
    ),
    Rule(
        "upscaler",
        "it has the large kernels of PLKSR",
        (_trained("feats.#.lk.conv.weight$", "feats.#.lk.mn_conv.weight$"),),
        version="realplksr",
    ),
    Rule(
        "upscaler",
        "it is one list of convolutions and activations, as Real-ESRGAN's compact network",
        (_trained("body.#.weight$"),),
        lacks=("conv_in.", "body.#.in_conv.", "body.#.block#.", ".resnets.", "conv_first."),
        version="compact",
    ),
    Rule(
        "interpolator",
        "it has FILM's pyramid of features",
        (("^extract.extract_sublevels.convs.#.#.conv.weight$",),),
        version="film",
    ),
    Rule(
        "interpolator",
        "it has RIFE's blocks of flow",
        (("block#.conv#.#.#.weight$", "blocks.#.conv#.#.#.weight$"), ("lastconv",)),
        version="rife",
    ),
    Rule(
        "ip-adapter",
        "it has keys and values for pictures (to_k_ip)",
        (("to_k_ip.weight$",),),
        layout="authors",
    ),
    # Control networks that cannot be used here, before those whose names they share.
    Rule(
        "controlnet",
        "its layers are ControlNet-LLLite's",
        (("^lllite_unet_",),),
        layout="kohya",
        version="lllite",
    ),
    Rule(
        "controlnet",
        "it has a CtrLoRA's low-rank layers (lora_layer) on a ControlNet",
        ((".lora_layer.",), ("zero_convs.#.#.weight$", "input_blocks.#.#.", ".input_hint_block.")),
        layout="ldm",
        version="ctrlora",
    ),
    Rule(
        "controlnet",
        "it has a ControlNet's outputs on layers of Stable Video Diffusion",
        (("^controlnet_down_blocks.#.",), (".temporal_res_block.",)),
        layout="diffusers",
        version="svd",
    ),
    # Models of other projects, some of whose names would pass for ours.
    Rule(
        "other",
        "it has Flux's double blocks",
        (("double_blocks.#.img_attn", "double_blocks_#_img_", "single_transformer_blocks.#."),),
        family="flux",
    ),
    Rule(
        "other",
        "it has Stable Diffusion 3's joint blocks",
        (("joint_blocks.#.", "joint_blocks_#_"),),
        family="sd3",
    ),
    Rule(
        "other",
        "it has HunyuanVideo's token refiner",
        (("individual_token_refiner",),),
        family="hunyuan-video",
    ),
    Rule(
        "other",
        "it has the blocks of Wan's transformer",
        (("head.modulation$", "blocks.#.cross_attn.norm_k.weight$", "blocks.#.cross_attn.k.lora"),),
        family="wan",
    ),
    Rule(
        "other",
        "it has the tables of a diffusion transformer (scale_shift_table)",
        (("scale_shift_table$", "patchify_proj.weight$", ".attn.qkv_x.weight$"),),
        family="diffusion transformer",
    ),
    Rule(
        "other",
        "it has Stable Cascade's layers",
        (("clip_txt_mapper.weight$", ".channelwise.#.weight$"),),
        family="stable-cascade",
    ),
    Rule(
        "other",
        "it has the temporal layers of Stable Video Diffusion",
        ((".time_stack.", ".time_mixer.", "temporal_transformer_blocks.#."),),
        family="svd",
    ),
    Rule(
        "other",
        "it has the temporal layers of ModelScope's text-to-video",
        ((".temopral_conv.", ".temp_convs.#.", ".temp_attentions.#."),),
        family="modelscope",
    ),
    Rule(
        "camera",
        "it merges a camera into temporal attention (qkv_merge)",
        ((".processor.qkv_merge.",), ("encoder_down_conv_blocks.",)),
        layout="authors",
        version="cameractrl",
    ),
    Rule(
        "camera",
        "it projects a camera's pose between temporal attentions (cc_projection)",
        (("motion_modules.#.temporal_transformer.transformer_blocks.#.cc_projection.",),),
        layout="authors",
        version="cmcm",
    ),
    Rule(
        "object-motion",
        "it is named as MotionCtrl's object module (omcm_state_dict)",
        (("^omcm_state_dict.",),),
        layout="authors",
    ),
    Rule(
        "other",
        "it is T5, which no model here reads prompts with",
        (("^encoder.block.#.layer.#.SelfAttention.q.weight$",),),
        family="t5",
    ),
    Rule(
        "sparse-control",
        "it has an embedding of conditions beside motion modules",
        (("^controlnet_cond_embedding.",), (MOTION_LAYOUTS["authors"].mark,)),
        layout="authors",
    ),
    Rule(
        "sparse-control",
        "it has an embedding of conditions beside motion modules, in diffusers' names",
        (("^controlnet_cond_embedding.",), (MOTION_LAYOUTS["diffusers"].mark,)),
        layout="diffusers",
    ),
    Rule(
        "controlnet",
        "it is marked as a low-rank ControlNet",
        (("^lora_controlnet$",),),
        layout="ldm",
        version="control-lora",
    ),
    Rule(
        "controlnet",
        "it is marked as differences from an image model's weights",
        (("^difference$",), ("^control_model.",)),
        layout="ldm",
        version="difference",
    ),
    Rule(
        "controlnet",
        "it has an embedding for each type of hint (task_embedding)",
        (("^task_embedding$",), ("^controlnet_down_blocks.#.weight$",)),
        layout="diffusers",
        version="union",
    ),
    Rule(
        "t2i-adapter",
        "it has the body of a T2I-Adapter, in diffusers' names",
        (("^adapter.body.#.",),),
        layout="diffusers",
    ),
    Rule(
        "t2i-adapter",
        "it has the body of a T2I-Adapter",
        (
            (
                *("^body.#.block#.weight$", "^body.#.body.#.block#.weight$"),
                "^module.body.#.block#.weight$",
            ),
        ),
        layout="authors",
    ),
    Rule(
        "controlnet",
        "it has a ControlNet's zero convolutions",
        (("^control_model.", "^zero_convs.#.#.weight$"),),
        layout="ldm",
    ),
    Rule(
        "controlnet",
        "it has a ControlNet's outputs (controlnet_down_blocks)",
        (("^controlnet_down_blocks.#.weight$",),),
        layout="diffusers",
    ),
    # Low-rank files: on motion modules first, for they are LoRAs too.
    Rule(
        "motion-lora",
        "it has low-rank pairs on temporal attentions",
        ((*LORA_MARKS, *LYCORIS_MARKS), MOTION_PLACES),
    ),
    Rule(
        "motion-lora",
        "it has low-rank pairs on temporal attentions, in this package's names",
        (LORA_MARKS, ("^down_#_#.", "^up_#_#.", "^mid_#_#.")),
    ),
    Rule("lora", "it has changes to an image model's weights", ((*LORA_MARKS, *LYCORIS_MARKS),)),
    # Motion modules.
    Rule(
        "motion",
        "it has Hotshot's temporal_attentions",
        ((MOTION_LAYOUTS["hotshot"].mark,),),
        layout="hotshot",
    ),
    Rule(
        "motion",
        "it has motion_modules with a temporal_transformer",
        ((MOTION_LAYOUTS["authors"].mark,),),
        layout="authors",
    ),
    Rule(
        "motion",
        "it has motion_modules in diffusers' names",
        ((MOTION_LAYOUTS["diffusers"].mark,),),
        layout="diffusers",
    ),
    Rule(
        "motion",
        "it has a module for each place in this package's names",
        (("^down_#_#.transformer_blocks.#.",),),
        layout="ours",
    ),
    # Image models, whole and in parts.
    Rule(
        "checkpoint",
        "it has a U-Net beside an autoencoder or text encoder, in the names of single files",
        (
            ("^model.diffusion_model.input_blocks.#.#.",),
            ("^first_stage_model.", "^cond_stage_model.", "^conditioner."),
        ),
        layout="ldm",
    ),
    Rule(
        "unet",
        "it has a U-Net's input_blocks and nothing beside them",
        (("^model.diffusion_model.input_blocks.", "^input_blocks.#.#.in_layers.#.weight$"),),
        layout="ldm",
    ),
    Rule(
        "vae",
        "it has an encoder and decoder around latents, in the names of single files",
        (("^decoder.mid.", "^first_stage_model.decoder.mid."),),
        layout="ldm",
    ),
    Rule(
        "vae",
        "it has an encoder and decoder around latents",
        (("^decoder.mid_block.",),),
        layout="diffusers",
    ),
    Rule(
        "tiny-autoencoder",
        "its encoder and decoder are plain numbered convolutions",
        (("^decoder.layers.#.conv.#.weight$", "^encoder.layers.#.conv.#.weight$"),),
        layout="diffusers",
    ),
    Rule(
        "tiny-autoencoder",
        "its layers are numbered convolutions without a name",
        (("^#.conv.#.weight$",),),
        layout="author",
    ),
    Rule(
        "unet",
        "it has a U-Net's down_blocks and an output convolution",
        (("^down_blocks.#.resnets.#.conv#.weight$",), ("^conv_out.weight$",)),
        layout="diffusers",
    ),
    Rule(
        "image-encoder",
        "it has the layers of CLIP's vision model",
        (("vision_model.encoder.layers.#.", "^visual.transformer.resblocks.#."),),
        layout="diffusers",
    ),
    Rule(
        "text-encoder",
        "it has the layers of CLIP's text model",
        (
            (
                "text_model.encoder.layers.#.self_attn.q_proj.weight$",
                "^encoder.layers.#.self_attn.q_proj.weight$",
            ),
        ),
        layout="diffusers",
    ),
    Rule(
        "text-encoder",
        "it has the layers of OpenCLIP's text model",
        (("transformer.resblocks.#.attn.in_proj_weight$",),),
        layout="ldm",
    ),
    # Textual inversions.
    Rule(
        "embedding",
        "it has vectors named emb_params or string_to_param",
        (("^emb_params$", "^string_to_param."),),
        layout="a1111",
    ),
    Rule(
        "embedding",
        "it has vectors for both of SDXL's text encoders",
        (("^clip_l$",), ("^clip_g$",)),
        layout="sdxl",
    ),
)
"""The kinds, the most specific first."""

FLAVOURS: tuple[Trait, ...] = (
    Trait("dora", "it has magnitudes (dora_scale)", (".dora_scale$", "lora_magnitude_vector")),
    Trait("loha", "it has Hadamard factors (hada_w1_a)", (".hada_w#_a$",)),
    Trait("lokr", "it has Kronecker factors (lokr_w1)", (".lokr_w#$", ".lokr_w#_a$")),
    Trait("glora", "it has factors of weights and beside them (a2, b2)", (".a#.weight$",)),
    Trait("oft", "it has rotations of inputs (oft_R)", (".oft_R.",)),
    Trait("oft", "it has rotations of outputs (oft_blocks)", (".oft_blocks$", ".oft_diag$")),
    Trait("ia3", "it has a factor for each output (on_input)", (".on_input$",)),
    Trait(
        "locon",
        "it has low-rank pairs on convolutions of ResNets",
        (
            *("_resnets_#_conv#.lora_", "_resnets_#_conv_shortcut.lora_", "samplers_#_conv.lora_"),
            *(".resnets.#.conv#.lora", ".resnets.#.conv_shortcut.lora", "samplers.#.conv.lora"),
            *("_in_layers_#.lora_", "_out_layers_#.lora_", ".lora_mid."),
        ),
    ),
    Trait("lora", "it has low-rank pairs", LORA_MARKS),
    Trait("full-diff", "it has whole differences of weights (diff)", (".diff$", ".diff_b$")),
)
"""How the changes of a LoRA are written down."""

VERSION_TITLES: Mapping[str, str] = {
    "dora": "DoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "glora": "GLoRA",
    "oft": "OFT",
    "ia3": "(IA)^3",
    "locon": "LoCon",
    "full-diff": "whole differences",
    "motiondirector": "MotionDirector",
    "training checkpoint": "a training checkpoint",
    "conv": "convolutions",
    **{name: name for name in ("inpainting", "instruct-pix2pix", "depth", "rgb", "scribble")},
    **{name: name for name in ("encoder", "decoder", "full", "light")},
    "lllite": "LLLite",
    "ctrlora": "CtrLoRA",
    "svd": "for Stable Video Diffusion",
    "control-lora": "ControlLoRA",
    "difference": "differences",
    "union": "union",
    "union-promax": "union, promax",
    "cameractrl": "CameraCtrl",
    "cmcm": "MotionCtrl",
}
"""What variants are called in a sentence, where they are worth a word."""

NAMINGS: tuple[Trait, ...] = (
    Trait(
        "kohya-sgm",
        "its names are kohya's, with SDXL's blocks as in the single file",
        (
            *("^lora_unet_input_blocks_#", "^lora_unet_output_blocks_#"),
            *("^lora_unet_middle_block_#", "^oft_unet_input_blocks_#"),
        ),
    ),
    Trait(
        "kohya",
        "its names are kohya's",
        ("^lora_unet_", "^lora_te_", "^lora_te#_", "^lora_te", "^oft_unet_"),
    ),
    Trait("lycoris", "its names are LyCORIS'", ("^lycoris_",)),
    Trait("comfy", "its names are ComfyUI's", ("^text_encoders.clip_",)),
    Trait(
        "peft", "its names are PEFT's (lora_A, lora_B, oft_R)", (".lora_A.", ".lora_B.", ".oft_R.")
    ),
    Trait(
        "diffusers",
        "its names are diffusers'",
        (
            *("^unet.", "^text_encoder.", "^text_encoder_#.", ".lora.down.", ".lora.up."),
            MOTION_LAYOUTS["diffusers"].mark,
        ),
    ),
    Trait("authors", "its names are those of the authors", ("_lora.down.", ".lora_down.")),
    Trait("ours", "its names are this package's", (".down.weight$",)),
)
"""Whose names a low-rank file has."""
