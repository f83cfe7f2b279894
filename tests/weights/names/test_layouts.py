"""Names in every layout: understood exactly, written exactly, and never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animatediff.errors import InputError
from animatediff.weights.names.layouts import (
    MOTION_LAYERS,
    MOTION_PARAMETERS,
    POSITIONS,
    WRITABLE,
    Kind,
    Layout,
    motion_name,
    motion_names,
)
from animatediff.weights.names.low_rank import Factor, low_rank_in, low_rank_name
from animatediff.weights.names.recognise import recognise

SITES = [
    *(f"down_{i}_{j}" for i in range(4) for j in range(2)),
    *(f"up_{i}_{j}" for i in range(4) for j in range(3)),
    "mid_0",
]
OURS = [f"{site}.{parameter}" for site in SITES for parameter in MOTION_PARAMETERS]
LINEAR = [layer for layer in MOTION_LAYERS if "norm" not in layer]
SPATIAL = [
    f"{block}.attentions.{j}.transformer_blocks.{k}.attn{n}.{projection}"
    for block in ("down_blocks.0", "down_blocks.2", "mid_block", "up_blocks.3")
    for j in (0, 2)
    for k in (0, 9)
    for n in (1, 2)
    for projection in ("to_q", "to_k", "to_v", "to_out.0")
]
HOSTS: dict[Kind, list[str]] = {
    "adapter": SPATIAL,
    "motion-lora": [f"{site}.{layer}" for site in SITES for layer in LINEAR],
}


def test_a_module_has_the_26_tensors_of_the_published_files() -> None:
    assert len(MOTION_PARAMETERS) == len(set(MOTION_PARAMETERS)) == 26


@pytest.mark.parametrize("layout", WRITABLE["motion"])
def test_motion_names_round_trip_in_every_layout(layout: Layout) -> None:
    theirs = [motion_names(name, layout=layout)[0] for name in OURS]
    assert len(set(theirs)) == len(OURS)
    found = [motion_name(name) for name in theirs]
    assert [name.ours for name in found if name is not None] == OURS
    assert {name.layout for name in found if name is not None} == {layout}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (
            "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
            ".attention_blocks.1.to_q.weight",
            "down_0_0.transformer_blocks.0.attention_blocks.1.to_q.weight",
        ),
        (
            "down_blocks.0.motion_modules.0.transformer_blocks.0.attn2.to_q.weight",
            "down_0_0.transformer_blocks.0.attention_blocks.1.to_q.weight",
        ),
        (
            "up_blocks.3.motion_modules.2.transformer_blocks.0.norm3.bias",
            "up_3_2.transformer_blocks.0.ff_norm.bias",
        ),
        (
            "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.norms.1.weight",
            "mid_0.transformer_blocks.0.norms.1.weight",
        ),
        (
            "up_blocks.2.temporal_attentions.1.transformer_blocks.0.ff.net.0.proj.weight",
            "up_2_1.transformer_blocks.0.ff.net.0.proj.weight",
        ),
        (
            "module.down_blocks.1.motion_modules.1.temporal_transformer.proj_out.bias",
            "down_1_1.proj_out.bias",
        ),
        (
            "state_dict.module.down_blocks.1.motion_modules.1.temporal_transformer.norm.weight",
            "down_1_1.norm.weight",
        ),
    ],
)
def test_published_spellings_of_motion_modules_are_understood(name: str, ours: str) -> None:
    found = motion_name(name)
    assert found is not None
    assert found.ours == ours


@pytest.mark.parametrize(
    "name",
    [
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
        ".attention_blocks.1.pos_encoder.pe",
        "down_blocks.0.motion_modules.0.transformer_blocks.0.pos_embed.pe",
        "down_blocks.0.temporal_attentions.0.transformer_blocks.0"
        ".attention_blocks.0.pos_encoder.positional_encoding",
    ],
)
def test_positions_are_known_for_what_they_are(name: str) -> None:
    found = motion_name(name)
    assert found is not None
    assert (found.site, found.parameter) == ("down_0_0", POSITIONS)


@pytest.mark.parametrize(
    "name",
    [
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attn1.to_q.weight",
        "down_blocks.0.motion_modules.0.transformer_blocks.0.attention_blocks.0.to_q.weight",
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.1.ff_norm.weight",
        "down_blocks.0.motion_modules.0.temporal_transformer.norm",
        "down_blocks.0.attentions.0.norm.weight",
        "down_0_0.norm.scale",
        "mid_1.norm.weight",
        "conv_in.weight",
        "",
    ],
)
def test_a_name_that_is_not_exactly_known_is_not_guessed(name: str) -> None:
    assert motion_name(name) is None


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_none(text: str) -> None:
    assert motion_name(text) is None or text
    assert low_rank_name(text) is None or text


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("layout", WRITABLE["adapter"])
@pytest.mark.parametrize("factor", ["down", "up"])
def test_low_rank_names_round_trip_in_every_layout(
    kind: Kind, layout: Layout, factor: Factor
) -> None:
    names = [low_rank_in(layout, kind=kind, host=host, factor=factor) for host in HOSTS[kind]]
    assert len(set(names)) == len(names)
    found = [low_rank_name(name) for name in names]
    assert [(n.kind, n.layout, n.host, n.factor) for n in found if n is not None] == [
        (kind, layout, host, factor) for host in HOSTS[kind]
    ]


@pytest.mark.parametrize(
    ("name", "host", "factor"),
    [
        (
            "down_blocks.0.attentions.1.transformer_blocks.0.attn2.processor.to_out_lora.up.weight",
            "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0",
            "up",
        ),
        (
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha",
            "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
            "alpha",
        ),
        (
            "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_q.lora_A.weight",
            "up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_q",
            "down",
        ),
        (
            "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
            ".attention_blocks.0.processor.to_q_lora.down.weight",
            "down_0_0.transformer_blocks.0.attention_blocks.0.to_q",
            "down",
        ),
        (
            "unet.mid_block.motion_modules.0.transformer_blocks.0.attn2.processor.to_out_lora.up.weight",
            "mid_0.transformer_blocks.0.attention_blocks.1.to_out.0",
            "up",
        ),
        (  # MotionDirector
            "up_blocks.1.motion_modules.2.temporal_transformer.transformer_blocks.0"
            ".ff.net.0.processor.proj_lora.down.weight",
            "up_1_2.transformer_blocks.0.ff.net.0.proj",
            "down",
        ),
        (  # MotionDirector
            "up_blocks.1.motion_modules.2.temporal_transformer.transformer_blocks.0"
            ".ff.net.processor.2_lora.up.weight",
            "up_1_2.transformer_blocks.0.ff.net.2",
            "up",
        ),
        (  # MotionDirector
            "up_blocks.1.motion_modules.2.temporal_transformer.transformer_blocks.0"
            ".attention_blocks.1.to_out.processor.0_lora.up.weight",
            "up_1_2.transformer_blocks.0.attention_blocks.1.to_out.0",
            "up",
        ),
        (
            "up_blocks.1.motion_modules.2.temporal_transformer.transformer_blocks.0"
            ".attention_blocks.1.processor.to_out.0_lora.up.weight",
            "up_1_2.transformer_blocks.0.attention_blocks.1.to_out.0",
            "up",
        ),
        (
            "lora_unet_down_blocks_3_motion_modules_1_temporal_transformer_transformer_blocks_0"
            "_attention_blocks_0_to_v.lora_up.weight",
            "down_3_1.transformer_blocks.0.attention_blocks.0.to_v",
            "up",
        ),
        (
            "down_blocks_3_motion_modules_1_temporal_transformer_transformer_blocks_0"
            "_attention_blocks_0_to_v.lora_up.weight",
            "down_3_1.transformer_blocks.0.attention_blocks.0.to_v",
            "up",
        ),
    ],
)
def test_published_spellings_of_low_rank_branches_are_understood(
    name: str, host: str, factor: Factor
) -> None:
    found = low_rank_name(name)
    assert found is not None
    assert (found.host, found.factor) == (host, factor)


def test_an_image_lora_is_no_domain_adapter() -> None:
    for name in (
        "lora_unet_down_blocks_0_resnets_0_conv1",
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ):
        assert recognise([f"{name}.lora_up.weight"], kind="adapter") is None


def test_other_names_in_the_same_file_are_listed() -> None:
    found = recognise(
        ["module.conv_in.weight", f"module.{motion_names(OURS[0], layout='authors')[0]}"],
        kind="motion",
    )
    assert found is not None
    assert (found.kind, found.others) == ("motion", ("module.conv_in.weight",))


def test_a_layout_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="kohya"):
        motion_names(OURS[0], layout="kohya")
    with pytest.raises(InputError, match="hotshot"):
        low_rank_in("hotshot", kind="adapter", host=SPATIAL[0], factor="up")
