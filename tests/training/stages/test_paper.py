"""Every stage on a tiny model and one's own clips: it learns its part and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.options import changed
from torch import nn

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.training.recipe import Recipe
from animatediff.training.runs.meters import read_metrics
from animatediff.training.runs.trainer import train
from animatediff.training.stages.job import Job
from animatediff.training.stages.stage_options import StageOptions
from animatediff.weights.adapters import (
    fill_low_rank,
    graft_adapter,
    graft_motion_lora,
    read_adapter,
    read_motion_lora,
)
from animatediff.weights.convert import convert
from animatediff.weights.image_model.base_model import load_base_model
from animatediff.weights.lora import fit_lora, read_lora
from animatediff.weights.motion import fill_motion, inflate, read_motion
from animatediff.weights.names.layouts import WRITABLE
from animatediff.weights.storage.files import read_header, read_weights
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
OWN_STAGES = (
    "domain-adapter",
    "motion",
    "motion-lora",
    "personalise-lora",
    "personalise-dreambooth",
    "personalise-inversion",
)
SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]


def seals(module: nn.Module) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in module.state_dict().items()
    }


def hosts(predict: object, base: object) -> dict[str, nn.Module]:
    """Everything a stage runs: the image model's parts, and the motion modules if there are any."""
    parts = {name: getattr(base, name) for name in ("unet", "vae", "text_encoder")}
    if isinstance(predict, AnimatedUNet):
        parts["motion"] = predict.motion
    return parts


@pytest.mark.parametrize("name", OWN_STAGES)
def test_each_stage_changes_only_what_it_learns(
    name: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options = options_of(name)
    prepared = STAGES[name].prepare(setup_of(name, tmp_path), options, CPU)
    lesson = prepared.lesson
    assert prepared.frozen is not None
    predict = getattr(getattr(lesson, "own", lesson), "predict_noise")  # noqa: B009
    parts = hosts(predict, prepared.frozen.base)
    learned_at = {id(p) for p in lesson.learns.parameters()}
    before = {k: seals(m) for k, m in parts.items() if id(next(m.parameters())) not in learned_at}
    files = {
        p: hashlib.sha256(p.read_bytes()).hexdigest() for p in prepared.frozen.base.files.values()
    }
    start = seals(lesson.learns)
    learned = train(lesson, options, tmp_path / "run", facts=prepared.facts)
    assert {k: seals(parts[k]) for k in before} == before
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files} == files
    changed = [k for k, seal in seals(lesson.learns).items() if start[k] != seal]
    assert changed
    assert learned.keys() == dict(lesson.learns.named_parameters()).keys()
    written = prepared.save(learned)
    assert written.exists()
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"loss", "plain", "loss_t0", "norm", "rate", "skipped"} <= lines[0].keys()


@pytest.mark.parametrize("name", OWN_STAGES)
def test_what_a_stage_writes_is_told_apart_and_loads_back(
    name: str, setup_of: SetupOf, options_of: OptionsOf, tiny_world: Path, tmp_path: Path
) -> None:
    options = replace(options_of(name), steps=1)
    prepared = STAGES[name].prepare(setup_of(name, tmp_path), options, CPU)
    learned = train(prepared.lesson, options, tmp_path / "run", facts=prepared.facts)
    path = prepared.save(learned)
    if name == "personalise-dreambooth":
        model = load_base_model(path, dtype=torch.float32, device=CPU)
        assert all(torch.equal(learned[n], p) for n, p in model.unet.named_parameters())
        return
    header = read_header(path)
    facts = header.metadata
    kinds = {"personalise-lora": "lora", "personalise-inversion": "embedding"}
    assert facts["kind"] == kinds.get(name, name)
    assert facts["modelspec.implementation"] == "animatediff"
    assert json.loads(facts["ss_training_comment"])["steps"] == 1
    weights = read_weights(header)
    assert weights.keys() >= learned.keys()
    assert all(torch.equal(weights[n], learned[n]) for n in learned)
    base = load_base_model(tiny_world, dtype=torch.float32, device=CPU)
    if name == "motion":
        file = read_motion(path)
        assert file.family.name == "v3"
        fill_motion(inflate(base.unet, file), file, dtype=torch.float32, device=CPU)
    elif name == "motion-lora":
        assert (facts["pattern"], facts["scales"]) == ("zoom-in", "1")
        graft_motion_lora(AnimatedUNet(base.unet), read_motion_lora(path), scale=1.0)
    elif name == "domain-adapter":
        assert (facts["rank"], facts["alpha"]) == ("2", "2")
        graft_adapter(base.unet, read_adapter(path), scale=1.0)
    elif name == "personalise-lora":
        fit = fit_lora(read_lora(path), {"unet": base.unet})
        assert not fit.absent
        assert len(fit.places) == len(weights) // 2
    else:
        assert weights["emb_params"].shape == (2, base.text_encoder.config.hidden_size)


def test_branches_on_all_layers_load_back_in_every_layout(
    setup_of: SetupOf, options_of: OptionsOf, tiny_world: Path, tmp_path: Path
) -> None:
    options = replace(options_of("motion-lora"), steps=1, optimizer="muon")
    setup = changed(
        setup_of("motion-lora", tmp_path),
        layers="all",
        pattern="roll-clockwise",
        scales=(-1.0, 1.0),
    )
    prepared = STAGES["motion-lora"].prepare(setup, options, CPU)
    learned = train(prepared.lesson, options, tmp_path / "run", facts=prepared.facts)
    path = prepared.save(learned)
    facts = read_header(path).metadata
    assert (facts["layers"], facts["scales"]) == ("all", "-1 1")
    assert (facts["pattern"], facts["opposite"]) == ("roll-clockwise", "roll-anticlockwise")
    hosts = {name.rpartition(".")[0].rpartition(".")[0] for name in learned}
    base = load_base_model(tiny_world, dtype=torch.float32, device=CPU)
    for layout in WRITABLE["motion-lora"]:
        written = convert(path, tmp_path / f"{layout}.safetensors", layout=layout).path
        file = read_motion_lora(written)
        assert file.names.keys() == hosts
        lora = graft_motion_lora(AnimatedUNet(base.unet), file, scale=1.0)
        fill_low_rank(lora, dtype=torch.float32, device=CPU)
        for host, graft in lora.grafts.items():
            loaded = graft.branch.state_dict()
            assert torch.equal(loaded["down.weight"], learned[f"{host}.down.weight"])
            assert torch.equal(loaded["up.weight"], learned[f"{host}.up.weight"])


def test_a_motion_lora_goes_on_from_another(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options, plain = options_of("motion-lora"), setup_of("motion-lora", tmp_path)
    first = STAGES["motion-lora"].prepare(plain, options, CPU)
    torch.manual_seed(3)
    for parameter in first.lesson.learns.parameters():
        nn.init.normal_(parameter, std=0.3)
    learned = {n: p.detach().clone() for n, p in first.lesson.learns.named_parameters()}
    written = first.save(learned)
    start = convert(written, tmp_path / "theirs.safetensors", layout="diffusers", gain=-2.0).path
    again = STAGES["motion-lora"].prepare(changed(plain, start=str(start)), options, CPU)
    for name, weight in again.lesson.learns.named_parameters():
        assert torch.equal(weight, learned[name] * (-2 if ".up." in name else 1))
        assert weight.requires_grad
    assert again.facts["start"] == hashlib.sha256(start.read_bytes()).hexdigest()
    for other in ({"rank": 3}, {"layers": "all"}):
        with pytest.raises(InputError, match="pass the --rank and --layers of the file"):
            STAGES["motion-lora"].prepare(changed(plain, start=str(start), **other), options, CPU)


@pytest.mark.parametrize("stage", ["motion", "motion-lora"])
def test_motion_learns_with_the_adapter_attached_and_frozen(
    stage: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options = options_of("domain-adapter")
    adapter = STAGES["domain-adapter"].prepare(setup_of("domain-adapter", tmp_path), options, CPU)
    torch.manual_seed(3)
    for parameter in adapter.lesson.learns.parameters():
        nn.init.normal_(parameter, std=0.3)
    path = adapter.save(dict(adapter.lesson.learns.named_parameters()))

    plain = setup_of(stage, tmp_path)
    batch = torch.arange(2)
    losses: list[float] = []
    for setup in (plain, changed(plain, adapter=path)):
        prepared = STAGES[stage].prepare(setup, options, CPU)
        lesson = prepared.lesson
        read = lesson.fetch(batch, torch.Generator().manual_seed(0))
        loss = lesson.losses(read, torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        losses.append(float(loss.detach()))
        assert prepared.frozen is not None
        assert all(p.grad is None for p in prepared.frozen.base.unet.parameters())
        assert ("adapter" in prepared.facts) == (setup.values["adapter"] is not None)
    assert losses[0] != losses[1]


def test_a_run_is_not_resumed_on_other_clips(
    setup_of: SetupOf, options_of: OptionsOf, own_clips: Path, tmp_path: Path
) -> None:
    options, setup = options_of("motion"), setup_of("motion", tmp_path)
    run = tmp_path / "run"
    prepared = STAGES["motion"].prepare(setup, options, CPU)
    train(prepared.lesson, replace(options, steps=1), run, facts=prepared.facts)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in own_clips.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    same = STAGES["motion"].prepare(changed(setup, data=moved), options, CPU)
    train(same.lesson, replace(options, steps=1), run, facts=same.facts)
    (moved / "clip0.txt").write_text("another caption")
    other = STAGES["motion"].prepare(changed(setup, data=moved), options, CPU)
    with pytest.raises(InputError, match="with other options"):
        train(other.lesson, replace(options, steps=1), run, facts=other.facts)


def test_the_prior_of_a_class_is_a_term_of_its_own(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = setup_of("personalise-dreambooth", tmp_path)
    losses = {}
    for weight in (0.0, 1.0):
        prepared = STAGES["personalise-dreambooth"].prepare(
            changed(setup, prior=weight), options_of("personalise-dreambooth"), CPU
        )
        lesson = prepared.lesson
        read = lesson.fetch(torch.arange(2), torch.Generator().manual_seed(0))
        losses[weight] = lesson.losses(read, torch.Generator().manual_seed(0))
    whole = losses[0.0]["loss"] + losses[0.0]["prior"]
    assert torch.allclose(losses[1.0]["loss"], whole, rtol=1e-5)


def test_a_new_word_without_its_neighbour_is_asked_for(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of("personalise-inversion", tmp_path), like=None)
    with pytest.raises(InputError, match="--like"):
        STAGES["personalise-inversion"].prepare(setup, options_of("personalise-inversion"), CPU)


@pytest.mark.parametrize(
    ("stage", "unread", "named"),
    [
        ("motion", {"pattern": "zoom-in"}, "--pattern; leave it"),
        ("motion-lora", {"moving_camera": 0.3, "word": "<dog>"}, "--moving-camera, --word; leave"),
        ("domain-adapter", {"word": "<dog>"}, "--word"),
        ("personalise-lora", {"class_caption": "a dog"}, "--class-caption"),
    ],
)
def test_what_a_stage_would_not_read_is_refused(
    stage: str, unread: dict[str, object], named: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"does not take {named}"):
        STAGES[stage].options(tmp_path, unread)


@pytest.mark.parametrize("stage", ["domain-adapter", "motion", "motion-lora"])
def test_ones_own_clips_are_not_degraded_without_a_word(
    stage: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of(stage, tmp_path), degraded=True)
    with pytest.raises(InputError, match=r"--degraded .* --data"):
        STAGES[stage].prepare(setup, options_of(stage), CPU)


def test_from_a_timestep_up_nothing_earlier_is_learned(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of("motion-lora", tmp_path), min_timestep=500)
    lesson = STAGES["motion-lora"].prepare(setup, options_of("motion-lora"), CPU).lesson
    read = lesson.fetch(torch.arange(2), torch.Generator().manual_seed(0))
    terms = lesson.losses(read, torch.Generator().manual_seed(0))
    assert [bool(terms[f"loss_t{k}"].isnan()) for k in range(4)] == [True, True, False, False]
    with pytest.raises(InputError, match="timestep 1000"):
        STAGES["motion-lora"].prepare(
            changed(setup, min_timestep=1000), options_of("motion-lora"), CPU
        )


@pytest.mark.parametrize("noise_offset", [0.0, 0.1])
@pytest.mark.parametrize("debias", [0.0, 1.0])
def test_a_fresh_motion_lora_starts_at_the_motion_modules_own_loss(
    debias: float, noise_offset: float, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(
        setup_of("motion-lora", tmp_path), debias=debias, noise_offset=noise_offset, min_snr=5.0
    )
    prepared = STAGES["motion-lora"].prepare(setup, options_of("motion-lora"), CPU)
    lesson = prepared.lesson
    read = lesson.fetch(torch.arange(2), torch.Generator().manual_seed(0))
    fresh = lesson.losses(read, torch.Generator().manual_seed(0))
    assert isinstance(lesson.learns, LowRankSet)
    lesson.learns.scale = 0.0
    without = lesson.losses(read, torch.Generator().manual_seed(0))
    assert torch.equal(fresh["loss"], without["loss"])
    assert ("motion" in fresh) == (debias > 0)


def test_motion_learns_with_shared_noise_and_its_file_says_so(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    def prepared(**values: object) -> Job:
        return STAGES["motion"].prepare(
            changed(setup_of("motion", tmp_path), **values), options_of("motion"), CPU
        )

    def loss(job: Job) -> torch.Tensor:
        read = job.lesson.fetch(torch.arange(2), torch.Generator().manual_seed(0))
        return job.lesson.losses(read, torch.Generator().manual_seed(0))["loss"]

    shared = prepared(shared_noise=0.5)
    assert not torch.equal(loss(shared), loss(prepared()))
    path = shared.save(dict(shared.lesson.learns.state_dict()))
    assert read_motion(path).family.shared_noise == 0.5
    onwards = prepared(motion=str(path))
    assert onwards.lesson.shared_noise == 0.5
    assert prepared(motion=str(path), shared_noise=0.0).lesson.shared_noise == 0
