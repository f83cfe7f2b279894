"""Models by name: in our own folders, the web interface's, ComfyUI's, and the hub's cache."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.effort import within

from animatediff.errors import FileError, InputError
from animatediff.weights.finding.builtin import list_models, resolve, resolve_model
from animatediff.weights.finding.catalog import catalog, published
from animatediff.weights.finding.folders import find_in_hub_cache, list_found, model_folders
from animatediff.weights.finding.model_folders import ModelFile, ModelFolder
from animatediff.weights.loader import loader_of
from animatediff.weights.roles import RoleName as Role


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing at all."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("ANIMATEDIFF_MODELS", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("ANIMATEDIFF_MODELS", ":".join(map(str, folders)))


def test_without_folders_only_the_built_in_is_known() -> None:
    assert model_folders() == []
    with pytest.raises(InputError, match="did you mean noto"):
        resolve("lora", "notto")
    assert resolve("lora", "noto").is_file()
    assert resolve("adapter", "emoji").is_file()


@pytest.mark.parametrize("role", ["motion", "motion-lora"])
def test_what_is_proposed_is_there(role: Role) -> None:
    # What only a recipe makes has a name too, but is not proposed to who has not run it.
    with pytest.raises(InputError) as told:
        resolve(role, "nothing like it")
    proposed = str(told.value).split("it is ")[1].split(" or a .safetensors")[0].split(" or ")
    assert proposed == [listed.name for listed in list_models() if listed.kind == role]
    assert all(resolve(role, name).is_file() for name in proposed)


@pytest.mark.parametrize(
    ("place", "role"),
    [
        ("checkpoints", "model"),
        ("lora/sub", "lora"),
        ("models/Stable-diffusion", "model"),
        ("models/Lora", "lora"),
        ("models/LyCORIS", "lora"),
        ("models/VAE", "vae"),
        ("embeddings", "embedding"),
        ("extensions/sd-webui-animatediff/model", "motion"),
        ("models/checkpoints/sub", "model"),
        ("models/loras", "lora"),
        ("models/animatediff_models", "motion"),
        ("models/animatediff_motion_lora", "motion-lora"),
        ("models/embeddings", "embedding"),
    ],
)
def test_a_name_is_found_in_every_layout(
    place: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = touch(tmp_path / "root" / place / "My Style_v2.safetensors")
    use(monkeypatch, tmp_path / "absent", tmp_path / "root")
    for name in ("My Style_v2", "my style_V2", "My Style_v2.safetensors"):
        assert resolve(role, name) == path  # pyright: ignore[reportArgumentType]
    if role == "model":
        found = resolve_model("My Style_v2")
        assert found == ModelFile("My Style_v2", path)


def test_comfyuis_list_of_further_folders_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "comfy"
    path = touch(tmp_path / "elsewhere" / "two" / "style.safetensors")
    root.mkdir()
    text = "mine:\n  base_path: ../elsewhere\n  loras: |\n    one\n    two\n"
    (root / "extra_model_paths.yaml").write_text(text)
    use(monkeypatch, root)
    assert resolve("lora", "style").resolve() == path
    (root / "extra_model_paths.yaml").write_text("a: [")
    with pytest.raises(FileError, match="YAML"):
        resolve("lora", "style")
    (root / "extra_model_paths.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(FileError, match="YAML"):
        resolve("lora", "style")


def test_a_diffusers_folder_is_a_model_and_its_parts_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root" / "models" / "diffusers" / "dreams"
    touch(folder / "model_index.json")
    touch(folder / "unet" / "diffusion_pytorch_model.safetensors")
    use(monkeypatch, tmp_path / "root")
    assert [found.name for found in list_found("model")] == ["dreams"]
    assert resolve_model("dreams") == ModelFolder("dreams", folder)


def test_two_of_one_name_are_not_chosen_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = touch(tmp_path / "root" / "lora" / "a" / "style.safetensors")
    touch(tmp_path / "root" / "lora" / "b" / "style.safetensors")
    use(monkeypatch, tmp_path / "root")
    with pytest.raises(InputError, match="name one by its path"):
        resolve("lora", "style")
    assert resolve("lora", "a/style") == one
    pickle = touch(tmp_path / "root" / "lora" / "other.ckpt")
    assert resolve("lora", "other") == pickle
    safe = touch(tmp_path / "root" / "lora" / "other.safetensors")
    assert resolve("lora", "other") == safe


def test_further_folders_are_in_the_users_settings(home: Path, tmp_path: Path) -> None:
    path = touch(tmp_path / "root" / "vae" / "sharp.safetensors")
    config = home / "xdg_config_home" / "animatediff" / "models.toml"
    touch(config).write_text(f'folders = ["{tmp_path / "root"}"]\n')
    assert resolve("vae", "sharp") == path
    config.write_text("folder = []\n")
    with pytest.raises(InputError, match="folders"):
        resolve("vae", "sharp")


def test_the_hubs_cache_is_read_and_nothing_outside_it(home: Path) -> None:
    repository = home / "hf_home" / "hub" / "models--maker--dreams"
    path = touch(repository / "snapshots" / "abc" / "model_index.json")
    touch(repository / "refs" / "main").write_text("abc")
    assert find_in_hub_cache("maker/dreams") == path.parent
    assert find_in_hub_cache("maker/dreams/model_index.json") == path
    assert resolve_model("maker/dreams") == ModelFolder("abc", path.parent)
    for name in ("maker", "maker/other", "maker/dreams/..", "../x/y", "maker/dreams/absent"):
        assert find_in_hub_cache(name) is None


def test_a_published_model_says_how_to_get_it(home: Path) -> None:
    with pytest.raises(InputError, match="models pull v3 fetches it"):
        resolve("motion", "v3")
    path = touch(published("v3").path)
    assert path == home / "xdg_data_home/animatediff/models/motion/v3_sd15_mm.safetensors"
    assert resolve("motion", "v3") == path
    with pytest.raises(InputError, match="did you mean v3-adapter"):
        published("v3-adaptor")


def test_the_user_adds_to_the_catalogue_and_wins(home: Path) -> None:
    config = home / "xdg_config_home" / "animatediff" / "catalog.toml"
    rows = '[mine]\nrole = "lora"\nrepository = "me/x"\nfile = "x.safetensors"\nabout = "mine"\n'
    touch(config).write_text(rows + rows.replace("[mine]", "[v3]"))
    assert catalog()["mine"].repository == "me/x"
    assert catalog()["v3"].role == "lora"
    config.write_text('[mine]\nrole = "wrong"\n')
    with pytest.raises(InputError, match=r"catalog\.toml"):
        catalog()


def test_a_published_model_is_not_called_as_a_built_in_one_which_would_be_taken(
    home: Path,
) -> None:
    for name, model in catalog().items():
        with pytest.raises(InputError, match=f"animatediff models pull {name} fetches it"):
            resolve(model.role, name)


def test_every_motion_entry_of_the_catalogue_is_of_a_known_family() -> None:
    from animatediff.weights.families import FAMILIES

    for name, model in catalog().items():
        assert re.fullmatch(r"|[0-9a-f]{64}", model.sha256), name
        assert model.family in FAMILIES or model.role == "control", name
        assert model.path.suffix == ".safetensors"


def test_a_list_of_folders_runs_nothing_and_unfolds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(tmp_path))
    path, canary = tmp_path / "extra_model_paths.yaml", tmp_path / "canary"
    path.write_text(f"a: !!python/object/apply:pathlib.Path.touch [!!python/name:str {canary}]")
    with pytest.raises(FileError, match="cannot be read as YAML"):
        list_found("motion")
    assert not canary.exists()
    laughs = ["a0: &a0 [ha, ha]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    path.write_text("\n".join([*laughs, "x: {base_path: *a39, loras: *a39, vae: vae}"]))
    with within(1):
        assert list_found("motion") == []
        assert list_found("lora") == []


def test_names_that_are_not_found_list_the_users_own_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, tmp_path)
    for number in range(10):
        touch(tmp_path / "lora" / f"style-{number}.safetensors")
    with pytest.raises(InputError, match="did you mean style-3") as told:
        resolve("lora", "stile-3")
    with pytest.raises(InputError) as told:
        resolve("lora", "nothere")
    assert "it is noto or style-0 or style-1 or" in str(told.value)
    assert "style-7 or one of 2 more that animatediff models lists or" in str(told.value)


def test_every_role_is_one_row_that_the_command_line_and_the_animator_agree_with() -> None:
    from animatediff.apps.commands.animate import AnimateOptions
    from animatediff.apps.options.declared import all_options
    from animatediff.weights.inspection.kinds import KINDS
    from animatediff.weights.roles import ROLES, usable_roles

    flags = {row.field: row.flag for row in all_options(AnimateOptions)}
    for role in usable_roles():
        assert flags[role.field] == role.option
        assert all(KINDS[kind].option == role.option for kind in role.kinds)
        if role.loader:
            assert all(
                hasattr(loader_of(role), step) for step in ("read", "fit", "fill", "move", "notes")
            )
    waiting = {"control", "ip-adapter", "image-encoder", "upscaler", "interpolator"}
    assert {role.name for role in ROLES.values() if not role.field} <= waiting
    assert all(role.own for role in ROLES.values())


def test_a_folder_where_a_file_is_needed_names_the_file_in_it(tmp_path: Path) -> None:
    """As PEFT and diffusers write a LoRA."""
    folder = tmp_path / "mystyle"
    folder.mkdir()
    with pytest.raises(InputError, match="is a folder, and --lora needs a file; give one of the"):
        resolve("lora", str(folder))
    (folder / "adapter_model.safetensors").write_bytes(bytes(8))
    with pytest.raises(InputError, match=r"the file in it, .*adapter_model\.safetensors"):
        resolve("lora", str(folder))
