"""Requests from outside: names and uploads only, and every wrong field named."""

from __future__ import annotations

from typing import Any

import pytest

from animatediff.apps.commands.animate import AnimateOptions
from animatediff.apps.server.answers.form import form
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.answers.sentences import without_paths
from animatediff.apps.server.formats import FORMATS
from animatediff.apps.server.incoming.outside import (
    ELSEWHERE,
    FOLLOW_UPLOADS,
    Names,
    parse_json,
    read_formats,
    read_request,
    takes,
    uploads_of,
    with_paths,
)
from animatediff.errors import InputError
from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.roles import usable_roles

HASH = "0f" * 32


def read(**fields: Any) -> AnimationRequest:
    table = {"prompt": "a fox", **fields}
    return read_request(table, names=Names(), has_upload=lambda digest: digest == HASH)


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert caught.value.status == 422
    return caught.value


def test_plain_fields_become_the_request() -> None:
    made = read(steps=3, guidance=2, loras=["noto:0.5"], fps="24000/1001", motion="none")
    assert (
        made
        == AnimationRequest(
            "a fox", steps=3, guidance=2.0, loras=("noto:0.5",), fps="24000/1001", motion="none"
        ).validated()
    )
    assert 0 <= read(seed=-1).seed < 2**32


@pytest.mark.parametrize(
    "place",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "~/x.safetensors",
        "https://example.org/model.safetensors",
        "file:///etc/passwd",
        "C:\\models\\a.safetensors",
        "\\\\host\\share",
        ".",
        "..",
        "./emoji",
        "models/../emoji",
        "evil.ckpt",
        "\0",
    ],
)
def test_a_place_is_refused_in_every_field_that_names_a_file(place: str) -> None:
    for role in usable_roles():
        value: Any = [place] if role.several else place
        error = refused(**{role.field: value})
        assert error.errors[0].field == f"request.{role.field}"
    for row in declared(AnimationRequest):
        if takes(row) in FOLLOW_UPLOADS:
            refused(**{row.field: [place] if row.is_list else place})


@pytest.mark.parametrize("tag", ["<lora:../../x:1>", "<lora:/etc/passwd:1>", "<lora:http://a/b:1>"])
def test_loras_in_prompts_are_names_too(tag: str) -> None:
    refused(prompt=f"a fox {tag}")
    refused(prompt="", prompts={"0": f"a fox {tag}", "4": "a hare"})


def test_every_text_option_was_thought_of() -> None:
    """A new option that takes text must be classified in ``TEXTS``; until then it is closed."""
    unknown = [row.field for row in declared(AnimationRequest) if takes(row) == "refused"]
    assert unknown == []


def test_what_may_name_a_file_is_not_plain_text() -> None:
    for row in declared(AnimationRequest):
        if any(
            word in row.option.metavar
            for word in ("FILE", "PATH", "IMAGE", "VIDEO", "FOLDER", "MASK", "PICTURE")
        ):
            assert takes(row) not in ("text", "prompt"), row.field


@pytest.mark.parametrize("place", ["/etc/passwd", "../x.json", "poses.txt", "~/p.json", "C:\\p"])
def test_a_camera_path_from_outside_is_a_move_and_never_a_file(place: str) -> None:
    refused(camera_path=place)
    assert read(camera_path="zoom-in:1.5+pan-left").camera_path == "zoom-in:1.5+pan-left"


def test_uploads_are_named_by_hash_and_found_again() -> None:
    made = read(init=HASH, strength=0.5)
    assert uploads_of(made) == (HASH,)
    assert refused(init="ab" * 32).errors[0].detail.startswith("There is no upload abababababab")
    table = {"init": HASH, "sparse": [f"{HASH}@0", f"{HASH}@-1"], "ip_images": [f"2={HASH}@3"]}
    placed = with_paths(table, lambda digest: f"/store/{digest[:2]}.png")
    assert placed["init"] == "/store/0f.png"
    assert placed["sparse"] == ["/store/0f.png@0", "/store/0f.png@-1"]
    assert placed["ip_images"] == ["2=/store/0f.png@3"]


def test_a_mask_is_an_area_or_an_upload() -> None:
    made = read(
        regions=["a hare@left", f"a bear @{HASH}"],
        motion_scale=["1.2"],
        motion_scale_mask="0,0,0.5,1",
    )
    assert uploads_of(made) == (HASH,)
    placed = with_paths(made.as_table(), lambda _: "/store/mask.png")
    assert placed["regions"] == ["a hare@left", "a bear @/store/mask.png"]
    assert placed["motion_scale_mask"] == "0,0,0.5,1"
    refused(regions=["a hare@/etc/passwd"])
    refused(regions=[f"a hare@{'ab' * 32}"])
    refused(motion_scale=["1.2"], motion_scale_mask="mask.png")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"width": 10**9}, "width"),
        ({"width": -1}, "width"),
        ({"width": 513}, "width"),
        ({"width": "512"}, "width"),
        ({"width": 1.5}, "width"),
        ({"width": True}, "width"),
        ({"num_frames": 10**7}, "num_frames"),
        ({"steps": 10**6}, "steps"),
        ({"loras": ["noto:1"] * 10_000}, "loras"),
        ({"loras": "noto"}, "loras"),
        ({"loras": [{}]}, "loras"),
        ({"model": "nobody-knows"}, "model"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompts": {"0": 1}}, "prompts"),
        ({"prompts": []}, "prompts"),
        ({"fps": "1e999999999"}, "fps"),
        ({"fps": 10**400}, "fps"),
        ({"guidance": 1e308}, "guidance"),
        ({"guidance": 10**400}, "guidance"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"scheduler": "fastest"}, "scheduler"),
        ({"stpes": 4}, "stpes"),
        ({"schema": 1}, "schema"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_field(
    fields: dict[str, Any], field: str
) -> None:
    error = refused(**fields)
    assert error.errors[0].field == f"request.{field}"
    assert error.detail.endswith((".", "?"))


@pytest.mark.parametrize("rate", ["1e999999999", "1" * 1000, "9" * 41, "1E9/1"])
def test_no_rate_takes_long_to_read_wherever_it_comes_from(rate: str) -> None:
    with pytest.raises(InputError, match="fps"):
        AnimationRequest("a fox", fps=rate).validated()


def test_every_wrong_field_is_listed() -> None:
    error = refused(steps=0, width=3, model="/x")
    assert {each.field for each in error.errors} == {
        "request.steps",
        "request.width",
        "request.model",
    }
    assert "(2 more)" in error.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b"1" * 10_000,
        rb'{"\ud800": 1}',
        rb'{"a": ["\udfff"]}',
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        parse_json(body)


def test_a_name_that_is_given_twice_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="gives 'seed' twice"):
        parse_json(b'{"request": {"seed": 1, "prompt": "a fox", "seed": 2}}')


def test_text_beyond_the_basic_plane_may_be_escaped() -> None:
    assert parse_json(rb'{"prompt": "\ud83e\udd8a"}') == {"prompt": "\U0001f98a"}


@pytest.mark.parametrize("formats", [[], ["exe"], [None], 7, [["mp4"]], {"a": 1}])
def test_unknown_formats_are_refused(formats: Any) -> None:
    with pytest.raises(Refused, match="format"):
        read_formats(formats)


def test_formats_go_by_the_command_lines_names() -> None:
    from animatediff.video import ALIASES
    from animatediff.video import FORMATS as KNOWN

    spoken = {code: name for name, code in ALIASES.items()}
    assert set(FORMATS) == {spoken.get(kind, kind) for kind in KNOWN}
    assert read_formats([*FORMATS, *KNOWN]) == FORMATS
    small = AnimationRequest("a fox", width=32, height=128)
    assert read_formats("ffv1", request=small) == ("ffv1",)
    with pytest.raises(Refused, match="av1, which needs frames of at least 64"):
        read_formats(["mp4", "av1"], request=small)


def test_every_option_of_the_command_line_is_a_field_or_refused_with_what_to_do() -> None:
    fields = {row.field for row in declared(AnimationRequest)}
    for row in (*declared(AnimationRequest), *declared(AnimateOptions)):
        word = row.flag.removeprefix("--").replace("-", "_")
        if word in fields:
            continue
        detail = refused(**{word: 1}).detail
        wanted = f"did you mean {row.field}?" if row.field in fields else ELSEWHERE[word]
        assert wanted in detail, row.flag
    assert "did you mean guidance?" in refused(cfg_scale=7).detail


def test_no_sentence_has_a_path() -> None:
    sentence = "/home/me/models/fox.safetensors is broken; see ~/a/b.txt, C:\\x\\y.bin and a/b."
    assert without_paths(sentence) == "fox.safetensors is broken; see b.txt, y.bin and a/b."
    assert without_paths("POST it to /api/v1/uploads first.") == "POST it to /api/v1/uploads first."
    assert without_paths("It is 1/2 of 24000/1001.") == "It is 1/2 of 24000/1001."


def test_the_form_has_every_option() -> None:
    listed = [option for group in form()["groups"] for option in group["options"]]
    assert {option["field"] for option in listed} == {
        row.field for row in declared(AnimationRequest)
    }
    model = next(option for option in listed if option["field"] == "model")
    assert (model["type"], model["takes"]) == ("text", "name:model")
    rate = next(option for option in listed if option["field"] == "fps")
    assert rate["type"] == "number"
