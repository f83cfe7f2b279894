"""Every published kind of file given to every option that wants another, through the command line."""

import pytest
from tests.weights import synthetic

from animatediff.apps.cli import main

WANTED = {
    "--model": "checkpoint",
    "--motion": "motion",
    "--lora": "lora",
    "--vae": "vae",
    "--embedding": "embedding",
    "--adapter": "adapter",
    "--motion-lora": "motion-lora",
}
KINDS = {sample.kind: name for name, sample in reversed(synthetic.SAMPLES.items())}


@pytest.mark.slow
@pytest.mark.parametrize("option", WANTED)
def test_each_wrong_file_is_named_in_one_sentence(option: str, tmp_path, capsys):
    for kind, name in KINDS.items():
        if kind == WANTED[option]:
            continue
        path = synthetic.write_sparse(tmp_path / f"{kind}.safetensors", name)
        code = main(
            [
                "animate",
                "a fox",
                option,
                str(path),
                "-o",
                str(tmp_path / "x.mp4"),
                "--progress",
                "none",
            ]
        )
        said = capsys.readouterr().err.strip()
        assert code == 3, (option, kind, said)
        assert "\n" not in said, said
        assert path.name in said, said
        path.unlink()
    assert list(tmp_path.iterdir()) == []
