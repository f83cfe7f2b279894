"""Encoded prompts: chunks, weights, learned words, and what SDXL wants besides."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.cases import text_encoder_of_another_model
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

from animatediff.errors import FileError, InputError
from animatediff.sampling.text.prompts import Conditioning, encode_prompts
from animatediff.weights.image_model.base_model import BaseModel, load_base_model
from animatediff.weights.textual_inversion import Word, add_words, read_embedding

CPU = torch.device("cpu")


@pytest.fixture
def base(tiny_world: Path) -> BaseModel:
    return load_base_model(tiny_world, dtype=torch.float32, device=CPU)


@pytest.fixture
def two_encoders(base: BaseModel) -> BaseModel:
    """The same with a second text encoder, as SDXL has."""
    torch.manual_seed(4)
    config = base.text_encoder.config.to_dict() | {"num_hidden_layers": 2, "projection_dim": 16}
    second = CLIPTextModelWithProjection(CLIPTextConfig.from_dict(config)).eval()
    return replace(
        base,
        text_encoder_2=second,
        tokenizer_2=base.tokenizer,
        empty_is_zero=True,
        text_encoder=deeper(base),
    )


def deeper(base: BaseModel) -> Any:
    from transformers.models.clip.modeling_clip import CLIPTextModel

    config = base.text_encoder.config.to_dict() | {"num_hidden_layers": 2}
    return CLIPTextModel(CLIPTextConfig.from_dict(config)).eval()


def encode(*texts: str, base: BaseModel, **options: Any) -> list[Conditioning]:
    with torch.inference_mode():
        return encode_prompts(texts, base=base, **options)


def ids_of(text: str, base: BaseModel) -> torch.Tensor:
    tokenizer: Any = base.tokenizer
    ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    row = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    return torch.tensor([row + [tokenizer.pad_token_id] * (77 - len(row))])


def test_a_plain_prompt_is_the_last_states_of_its_tokens(base: BaseModel) -> None:
    (found,) = encode("a fox, an ox", base=base)
    with torch.inference_mode():
        wanted = base.text_encoder(input_ids=ids_of("a fox, an ox", base)).last_hidden_state
    assert torch.equal(found.states, wanted)
    assert found.added == {}


def test_every_text_gets_as_many_chunks_as_the_longest(base: BaseModel) -> None:
    short, long = encode("", "fox " * 80, base=base)
    assert short.states.shape == long.states.shape == (1, 154, 32)
    assert torch.equal(short.states[:, :77], short.states[:, 77:])
    assert torch.equal(long.states[:, :77], encode("fox " * 75, base=base)[0].states)
    assert torch.equal(long.states[:, 77:], encode("fox " * 5, base=base)[0].states)


def test_a_chunk_ends_at_a_comma_that_is_near(base: BaseModel) -> None:
    torn = "fox " * 70 + ", " + "a " * 10
    (found,) = encode(torn, base=base)
    first, second = encode("fox " * 70 + ",", "a " * 10, base=base)
    assert torch.equal(found.states, torch.cat([first.states, second.states], dim=1))
    far = "fox " * 30 + ", " + "a " * 60
    assert torch.equal(
        encode(far, base=base)[0].states[:, 77:], encode("a " * 16, base=base)[0].states
    )


def test_break_begins_a_chunk(base: BaseModel) -> None:
    (found,) = encode("fox BREAK an", base=base)
    first, second = encode("fox", "an", base=base)
    assert torch.equal(found.states, torch.cat([first.states, second.states], dim=1))


def test_weights_multiply_states_and_keep_their_mean(base: BaseModel) -> None:
    nn.init.constant_(
        base.text_encoder.final_layer_norm.bias, 0.3
    )  # as published ones, it has a mean
    plain, found = encode("a fox an", "a (fox:1.5) an", base=base)
    factors = torch.ones(77)
    factors[2] = 1.5
    assert ids_of("a", base)[0, 2] == base.tokenizer.eos_token_id  # so that fox is third
    moved = plain.states * factors[:, None]
    wanted = moved * plain.states.mean() / moved.mean()
    assert torch.allclose(found.states, wanted, atol=1e-5)
    assert torch.isclose(found.states.mean(), plain.states.mean(), rtol=1e-3)
    nn.init.zeros_(base.text_encoder.final_layer_norm.bias)
    plain, found = encode("a fox an", "a (fox:1.5) an", base=base)
    assert torch.allclose(found.states, plain.states * factors[:, None], atol=1e-6)


def test_comfy_weighs_the_difference_to_the_empty_text(base: BaseModel) -> None:
    empty, plain = encode("", "a fox an", base=base)
    (found,) = encode("a (fox:1.5) an", base=base, emphasis="comfy")
    wanted = plain.states.clone()
    wanted[:, 2] = empty.states[:, 2] + 1.5 * (plain.states[:, 2] - empty.states[:, 2])
    assert torch.allclose(found.states, wanted, atol=1e-6)


def test_no_emphasis_reads_brackets_as_text(base: BaseModel) -> None:
    (found,) = encode("(fox:1.5)", base=base, emphasis="none")
    with torch.inference_mode():
        wanted = base.text_encoder(input_ids=ids_of("(fox:1.5)", base)).last_hidden_state
    assert torch.equal(found.states, wanted)


def test_clip_skip_takes_an_earlier_layer_through_the_last_norm(base: BaseModel) -> None:
    base = replace(base, text_encoder=deeper(base))
    ids = ids_of("a fox", base)
    with torch.inference_mode():
        output = base.text_encoder(input_ids=ids, output_hidden_states=True)
        wanted = base.text_encoder.final_layer_norm(output.hidden_states[-2])
    assert torch.equal(encode("a fox", base=base, clip_skip=2)[0].states, wanted)
    assert torch.equal(
        encode("a fox", base=base, clip_skip=1)[0].states, encode("a fox", base=base)[0].states
    )
    with pytest.raises(InputError, match="has 2 layers"):
        encode("a fox", base=base, clip_skip=3)


def test_two_encoders_lie_side_by_side_with_one_vector(two_encoders: BaseModel) -> None:
    base = two_encoders
    assert base.text_encoder_2 is not None
    (found,) = encode("a fox", base=base)
    ids = ids_of("a fox", base)
    with torch.inference_mode():
        one = base.text_encoder(input_ids=ids, output_hidden_states=True).hidden_states[-2]
        two = base.text_encoder_2(input_ids=ids, output_hidden_states=True)
    assert torch.equal(found.states, torch.cat([one, two.hidden_states[-2]], dim=-1))
    assert torch.allclose(found.added["text_embeds"], two.text_embeds, atol=1e-6)
    negative, prompt = encode("", "", base=base, is_negative=(True, False))
    assert not negative.states.any()
    assert not negative.added["text_embeds"].any()
    assert prompt.states.any()


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path)
    return path


def test_a_learned_word_takes_its_vectors_place(base: BaseModel, tmp_path: Path) -> None:
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    file = read_embedding(write(tmp_path / "My-Word.safetensors", {"emb_params": vectors}))
    rows = len(base.text_encoder.embeddings.token_embedding.weight)
    before = encode("a fox", base=base)[0]
    words = add_words(base, [file])
    assert words == (Word("My-Word", (rows, rows + 1, rows + 2)),)
    assert torch.equal(encode("a fox", base=base, words=words)[0].states, before.states)
    table = base.text_encoder.embeddings.token_embedding.weight
    assert torch.equal(table[rows:], vectors)
    named, lower = encode("a my-word fox", "a embedding:MY-WORD fox", base=base, words=words)
    assert torch.equal(named.states, lower.states)
    ids = ids_of("a fox", base)[0].tolist()
    row = torch.tensor([[ids[0], ids[1], rows, rows + 1, rows + 2, *ids[2:-3]]])
    with torch.inference_mode():
        wanted = base.text_encoder(input_ids=row).last_hidden_state
    assert torch.equal(named.states, wanted)
    (inside,) = encode("my-words", base=base, words=words)
    assert torch.equal(inside.states, encode("my-words", base=base)[0].states)


def test_a_learned_word_is_not_torn_apart(base: BaseModel, tmp_path: Path) -> None:
    file = read_embedding(write(tmp_path / "w.safetensors", {"<fox>": torch.randn(10, 32)}))
    assert file.name == "<fox>"
    words = add_words(base, [file])
    (found,) = encode("a " * 70 + "<fox>", base=base, words=words)
    assert torch.equal(found.states[:, 77:], encode("<fox>", base=base, words=words)[0].states)


def test_two_encoders_learn_a_word_together(two_encoders: BaseModel, tmp_path: Path) -> None:
    both = {"clip_l": torch.randn(2, 32), "clip_g": torch.randn(2, 32)}
    words = add_words(two_encoders, [read_embedding(write(tmp_path / "w.safetensors", both))])
    (found,) = encode("a w", base=two_encoders, words=words)
    assert found.states.isfinite().all()
    one = read_embedding(write(tmp_path / "v.safetensors", {"emb_params": torch.randn(2, 32)}))
    with pytest.raises(FileError, match="another kind of model"):
        add_words(two_encoders, [one])


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"a": torch.ones(2, 2), "b": torch.ones(2, 2)}, "not a textual inversion"),
        ({"x": torch.ones(2, 2, 2)}, "not a textual inversion"),
        ({"emb_params": torch.ones(76, 32)}, "1 to 75"),
        ({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(3, 32)}, "2 and 3 vectors"),
        ({"emb_params": torch.ones(2, 768)}, "another kind of model"),
        ({"emb_params": torch.full((2, 32), float("nan"))}, "NaN or infinity"),
    ],
)
def test_what_is_no_word_for_this_model_is_refused_in_one_sentence(
    tensors: dict[str, torch.Tensor], sentence: str, base: BaseModel, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(FileError, match=sentence) as refused:
        add_words(base, [read_embedding(path)])
    assert "\n" not in str(refused.value)


def test_a_long_prompt_is_read_in_chunks_without_a_warning(
    tiny_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = load_base_model(tiny_world, dtype=torch.float32, device=CPU)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        encode_prompts(["a red fox, " * 60], base=base)
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.text == ""


def test_a_text_encoder_with_too_few_rows_is_refused(tiny_world: Path, tmp_path: Path) -> None:
    world = text_encoder_of_another_model.write(tmp_path / "world", tiny_world)
    with pytest.raises(FileError, match="text encoder of 20 tokens and a tokenizer of"):
        load_base_model(world, dtype=torch.float32, device=CPU)
