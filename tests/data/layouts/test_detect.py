"""Layouts: every way to keep a data set lists the same clips, and a wrong row is told by its line."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.cases import (
    folders_with_links,
    sd_scripts_settings,
    table_with_a_bad_quote,
    tables_of_spreadsheets,
    unlisted_suffixes,
)

from animatediff.data.decoding.frames import decode
from animatediff.data.layouts.detect import list_clips
from animatediff.data.layouts.listing import Listing
from animatediff.data.shards import Sample, write_shards
from animatediff.errors import FileError, InputError
from animatediff.video import Video

CAPTIONS = {"fox": "a red fox, running", "owl": "an owl 🦉 “turns”\tits head"}
FLAT = {"fox": "a red fox, running", "owl": "an owl 🦉 “turns” its head"}


@pytest.fixture
def clips(
    tmp_path: Path, write_clip: Callable[..., Path], numbered_frames: Callable[..., np.ndarray]
) -> Path:
    """Two videos and nothing else."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "fox.mp4", numbered_frames(3))
    write_clip(folder / "owl.mp4", numbered_frames(4))
    return folder


def in_folder(clips: Path) -> Path:
    for name, caption in CAPTIONS.items():
        (clips / f"{name}.txt").write_text(caption + "\n", encoding="utf-8-sig")
    (clips / ".DS_Store").write_bytes(b"\0")
    (clips / "README.md").write_text("not a clip")
    return clips


def in_metadata_csv(clips: Path) -> Path:
    rows = "".join(f'"{c}",{n}.mp4,7\n' for n, c in CAPTIONS.items())
    (clips / "metadata.csv").write_text(f"text,file_name,score\n{rows}", encoding="utf-8")
    return clips


def in_metadata_jsonl(clips: Path) -> Path:
    lines = [json.dumps({"file_name": f"{n}.mp4", "caption": c}) for n, c in CAPTIONS.items()]
    (clips / "metadata.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return clips


def in_metadata_parquet(clips: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"file_name": [f"{n}.mp4" for n in CAPTIONS], "text": list(CAPTIONS.values())}
    parquet.write_table(pyarrow.table(table), clips / "metadata.parquet")
    return clips


def in_webvid_csv(clips: Path) -> Path:
    rows = "".join(f'{n},"{c}",page_{n},PT00H\n' for n, c in CAPTIONS.items())
    (clips / "results.csv").write_text(f"videoid,name,page_dir,duration\n{rows}", encoding="utf-8")
    (clips / "page_fox").mkdir()
    (clips / "fox.mp4").rename(clips / "page_fox" / "fox.mp4")
    (clips / "videos").mkdir()
    (clips / "owl.mp4").rename(clips / "videos" / "owl.mp4")
    return clips / "results.csv"


def in_musubi_jsonl(clips: Path) -> Path:
    rows = [
        {"video_path": str((clips / "fox.mp4").resolve()), "caption": CAPTIONS["fox"]},
        {"video_path": "owl.mp4", "caption": CAPTIONS["owl"]},
    ]
    (clips / "set.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return clips


def in_toml(clips: Path) -> Path:
    in_folder(clips)
    (clips / "set.toml").write_text(
        '[general]\nresolution = [256, 256]\ncaption_extension = ".txt"\nbatch_size = 1\n'
        '[[datasets]]\nvideo_directory = "."\nframe_extraction = "head"\n'
    )
    return clips


def in_lists(clips: Path) -> Path:
    (clips / "prompts.txt").write_text("".join(f"{c}\n" for c in CAPTIONS.values()))
    (clips / "videos.txt").write_text("".join(f"{n}.mp4\n" for n in CAPTIONS))
    return clips


def in_webdataset(clips: Path) -> Path:
    with tarfile.open(clips / "00000.tar", "w") as tar:
        for name, caption in CAPTIONS.items():
            tar.add(clips / f"{name}.mp4", f"./{name}.mp4")
            if name == "fox":
                add(tar, f"./{name}.txt", caption.encode())
            else:
                add(tar, f"./{name}.json", json.dumps({"caption": caption}).encode())
            (clips / f"{name}.mp4").unlink()
    return clips


def in_frame_folders(clips: Path) -> Path:
    for name, caption in CAPTIONS.items():
        video = Video.load(clips / f"{name}.mp4")
        video.save(clips / f"{name}.png")
        (clips / f"{name}.txt").write_text(caption)
        (clips / f"{name}.mp4").unlink()
    (clips / "owl" / "frames.json").unlink()
    for index in range(4):  # not in the order of their names
        (clips / "owl" / f"frame_{index:04d}.png").rename(clips / "owl" / f"f{index + 8}.png")
    return clips


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


MAKERS = {
    "folder": in_folder,
    "metadata": in_metadata_csv,
    "metadata jsonl": in_metadata_jsonl,
    "metadata parquet": in_metadata_parquet,
    "webvid": in_webvid_csv,
    "jsonl": in_musubi_jsonl,
    "toml": in_toml,
    "lists": in_lists,
    "webdataset": in_webdataset,
    "folder of frames": in_frame_folders,
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_layout_lists_the_same_clips(name: str, clips: Path) -> None:
    whole = {n: decode(list_clips(clips / f"{n}.mp4").entries[0].media).frames for n in CAPTIONS}
    listing = list_clips(MAKERS[name](clips))
    assert listing.layout == name.partition(" ")[0]
    assert listing.broken == ()
    entries = {Path(entry.key).name: entry for entry in listing.entries}
    assert {key: entry.caption for key, entry in entries.items()} == FLAT
    for key, entry in entries.items():
        assert np.array_equal(decode(entry.media).frames, whole[key])


def test_a_listing_has_a_fingerprint_that_moves_with_it(clips: Path, tmp_path: Path) -> None:
    first = list_clips(in_folder(clips)).fingerprint()
    shutil.copytree(clips, tmp_path / "elsewhere")
    assert list_clips(tmp_path / "elsewhere").fingerprint() == first
    (clips / "fox.txt").write_text("another fox")
    assert list_clips(clips).fingerprint() != first


def test_parts_of_a_video_repeats_and_captions_from_names(clips: Path) -> None:
    rows = [
        {"file_name": "fox.mp4", "start": 0.5, "end": 1.25},
        {"file_name": "fox.mp4", "start": "0:00:01.250", "end": "00:00:02", "mood": "calm"},
    ]
    (clips / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = list_clips(clips).entries
    assert (first.key, first.start, first.end) == ("fox", 0.5, 1.25)
    assert (second.key, second.start, second.end) == ("fox#2", 1.25, 2.0)
    assert second.facts == {"mood": "calm"}
    assert second.origin == "metadata.jsonl line 2"
    (clips / "metadata.jsonl").unlink()
    (clips / "fox.mp4").rename(clips / "red_fox-02.mp4")
    assert [e.text for e in list_clips(clips).entries] == ["owl", "red fox 02"]
    (clips / "d.toml").write_text(
        'resolutions = [512]\n[[directory]]\npath = "."\nnum_repeats = 3\ncaption_prefix = "sks, "'
    )
    (clips / "owl.txt").write_text("an owl")
    listing = list_clips(clips)
    assert [(e.text, e.repeats) for e in listing.entries] == [("sks, an owl", 3), ("red fox 02", 3)]
    assert "resolutions does not select clips" in listing.notes[0]


def test_our_own_strips_are_clips(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 4), dtype=np.uint8)
    frames[..., 3] = 255
    sample = Sample("key", {"caption": "noise", "frames": 5}, frames.reshape(40, 8, 4))
    write_shards([sample], tmp_path / "shards")
    (entry,) = list_clips(tmp_path).entries
    video = decode(entry.media)
    assert (entry.caption, video.fps) == ("noise", Fraction(8))
    assert np.array_equal(video.frames, frames[..., :3])


def broken(clips: Path, name: str, content: str) -> Listing:
    (clips / name).write_text(content, encoding="utf-8")
    return list_clips(clips / name)


def test_a_wrong_row_is_told_by_its_line_and_the_others_are_listed(clips: Path) -> None:
    metadata = broken(
        clips,
        "metadata.csv",
        "file_name,text,start,end\n"
        'fox.mp4,"two\nlines",,\n'
        "gone.mp4,x,,\n"
        "../../etc/passwd,x,,\n"
        "fox.mp4,x\n"
        "owl.mp4,x,2,1\n"
        "owl.mp4,x,soon,\n"
        ",x,,\n"
        "owl.mp4,good,,\n",
    )
    assert [e.caption for e in metadata.entries] == ["two lines", "good"]
    reasons = [row.reason for row in metadata.broken]
    for reason, (line, words) in zip(
        reasons,
        [
            (4, "'gone.mp4', which is not there"),
            (5, "is outside"),
            (6, "has 2 fields for 4 columns"),
            (7, "ends at 1 s, before it starts"),
            (8, "start = 'soon', which is not a time"),
            (9, "has no file_name"),
        ],
        strict=True,
    ):
        assert reason.startswith(f"metadata.csv line {line} ")
        assert words in reason
        assert reason.endswith(".")
    lines = broken(
        clips,
        "a.jsonl",
        '{"video_path": "fox.mp4", "caption": "x"}\nno json\n[1]\n'
        '{"video_path": "fox.mp4", "caption": 5}\n{"caption": "x"}\n'
        '{"video_path": "a\\u0000b.mp4"}\n' + "[" * 10000 + "\n",
    )
    assert len(lines.entries) == 1
    for number, row in zip(range(2, 8), lines.broken, strict=True):
        assert f"a.jsonl line {number}" in row.reason
    webvid = broken(clips, "w.csv", "videoid,name,page_dir\nfox,x,\n../fox,x,\n7,x,../..\n")
    assert [e.key for e in webvid.entries] == ["fox"]
    assert [r.reason.split(" ")[2] for r in webvid.broken] == ["3", "4"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"path,words\n", "line 1 needs the column file_name"),
        ("a.csv", b"file_name,file_name\n", "names a column twice"),
        ("a.csv", b"file_name,t\xff\xfext\n", "UTF-8"),
        ("a.csv", b'file_name,"te"xt"\n', "line 1"),
        ("a.toml", b"[general\n", "not TOML"),
        ("a.toml", b"[general]\n", "neither"),
        ("a.toml", b'[[datasets]]\nvideo_directory = "gone"\n', "gone, which is not there"),
        ("a.toml", b"[[datasets]]\nnum_repeats = 0\n", "num_repeats = 0"),
    ],
)
def test_a_table_that_is_wrong_as_a_whole_is_refused(
    name: str, content: bytes, words: str, clips: Path
) -> None:
    (clips / name).write_bytes(content)
    with pytest.raises(FileError, match=words):
        list_clips(clips)


def test_what_cannot_be_told_is_asked(clips: Path, tmp_path: Path) -> None:
    for name in ("metadata.csv", "metadata.jsonl"):
        (clips / name).write_text("file_name,text\n")
    with pytest.raises(InputError, match=r"both metadata\.csv and metadata\.jsonl"):
        list_clips(clips)
    with pytest.raises(InputError, match="There is no"):
        list_clips(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no clips"):
        list_clips(tmp_path / "empty")
    assert len(list_clips(clips, layout="folder")) == 2
    in_lists(clips)
    (clips / "prompts.txt").write_text("only one\n")
    with pytest.raises(FileError, match=r"1 lines in prompts\.txt and 2"):
        list_clips(clips, layout="lists")


def test_a_shard_that_is_cut_short_and_one_without_a_video_are_told(clips: Path) -> None:
    shard = in_webdataset(clips) / "00000.tar"
    with tarfile.open(shard, "a") as tar:
        add(tar, "zoo.txt", b"no video")
        add(tar, "zoo2.mp4", b"x" * 4000)
    shard.write_bytes(shard.read_bytes()[: -10 * 1024])
    listing = list_clips(clips)
    assert {"fox", "owl"} <= {e.key for e in listing.entries}
    assert any("zoo has 0 videos" in row.reason for row in listing.broken)
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 3])
    assert any("is broken" in row.reason for row in list_clips(clips).broken)


def test_numbered_pictures_with_their_own_texts_are_pictures(
    tmp_path: Path, numbered_frames: Callable[..., np.ndarray]
) -> None:
    folder = tmp_path / "dog"
    folder.mkdir()
    for index, frame in enumerate(numbered_frames(3)):
        Video(frame[None], Fraction(8)).save(folder / f"{index}.png")
    assert [e.key for e in list_clips(tmp_path).entries] == ["dog"]
    assert [e.key for e in list_clips(folder).entries] == ["0", "1", "2"]
    assert list_clips(folder, layout="frames").entries[0].media.pictures[2].name == "2.png"
    (folder / "0.txt").write_text("a dog")
    assert [e.key for e in list_clips(tmp_path).entries] == ["dog/0", "dog/1", "dog/2"]


def test_files_are_clips_by_what_is_in_them(tmp_path: Path) -> None:
    listing = list_clips(unlisted_suffixes.write(tmp_path / "data"))
    found = {entry.media.path.name: entry for entry in listing.entries}
    assert set(found) == {*unlisted_suffixes.READABLE, *unlisted_suffixes.UNSUPPORTED}
    for name in unlisted_suffixes.READABLE:
        assert decode(found[name].media).frames.shape[1:] == (48, 64, 3)
    for name in unlisted_suffixes.UNSUPPORTED:
        with pytest.raises(
            FileError, match=r"not supported; save it as|only a preview|a preview, as"
        ):
            decode(found[name].media)
    assert listing.notes == ("1 file is neither clips nor captions, and left out: archive.zip",)
    assert len(list_clips(tmp_path / "data" / "b.m2ts")) == 1


def test_members_of_an_archive_are_clips_by_what_is_in_them(tmp_path: Path) -> None:
    folder = unlisted_suffixes.write(tmp_path / "data")
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for number, name in enumerate((*unlisted_suffixes.READABLE, "h.heic")):
            tar.add(folder / name, f"{number}.v2{Path(name).suffix or '.img'}")
            add(tar, f"{number}.txt", b"a clip")
    listing = list_clips(tmp_path / "00000.tar")
    assert (len(listing), listing.broken) == (8, ())
    for entry in listing.entries[:-1]:
        assert decode(entry.media).frames.shape[1:] == (48, 64, 3)


def test_a_folder_that_several_links_lead_to_is_listed_once(tmp_path: Path) -> None:
    listing = list_clips(folders_with_links.write(tmp_path))
    assert sorted(e.key for e in listing.entries) == sorted((*folders_with_links.NAMES, "gone"))
    assert any("loop is a link to a folder that is listed already" in n for n in listing.notes)
    with pytest.raises(FileError, match=r"gone\.png"):
        decode(next(e.media for e in listing.entries if e.key == "gone"))


def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_listed(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_folder(clips) / "lost+found").mkdir()
    closed(monkeypatch, clips / "lost+found")
    listing = list_clips(clips)
    assert (len(listing), listing.broken) == (2, ())
    assert listing.notes == ("lost+found cannot be read (permission denied), and is left out",)
    closed(monkeypatch, clips)
    with pytest.raises(FileError, match=r"clips cannot be read \(permission denied\)"):
        list_clips(clips)


def test_a_table_that_cannot_be_read_is_one_sentence(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_metadata_jsonl(clips)
    own = Path.open

    def denied(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "metadata.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        return own(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(FileError, match=r"metadata\.jsonl cannot be read \(permission denied\)"):
        list_clips(clips)


def closed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As where its owner is somebody else; root, who runs tests in containers, may read everything."""
    own = Path.iterdir

    def iterdir(path: Path) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return own(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_sd_scripts_settings_are_read_as_sd_scripts_reads_them(tmp_path: Path) -> None:
    listing = list_clips(sd_scripts_settings.write(tmp_path))
    assert {e.key: e.caption for e in listing.entries} == sd_scripts_settings.CAPTIONS
    assert {e.repeats for e in listing.entries} == {1, 2}
    with (tmp_path / "set.toml").open("a") as file:
        file.write('  metadata_file = "meta.json"\n')
    with pytest.raises(FileError, match="metadata_file, which is not read"):
        list_clips(tmp_path / "set.toml")


def test_one_bad_quote_costs_one_row_and_is_told_by_its_line(clips: Path) -> None:
    listing = list_clips(table_with_a_bad_quote.write(clips / "metadata.csv"))
    captions = ['a "red" fox', "an owl", "an owl, again", "the last good one"]
    assert [e.caption for e in listing.entries] == captions
    assert len(listing.broken) == len(table_with_a_bad_quote.BAD)
    for row, (line, words) in zip(listing.broken, table_with_a_bad_quote.BAD.items(), strict=True):
        assert row.reason.startswith(f"metadata.csv line {line} ")
        assert words in row.reason


@pytest.mark.parametrize("seen", tables_of_spreadsheets.TABLES)
def test_captions_are_found_however_a_table_was_saved(seen: str, clips: Path) -> None:
    name, content = tables_of_spreadsheets.TABLES[seen]
    (clips / name).write_text(content, encoding="utf-8", newline="")
    listing = list_clips(clips)
    assert [entry.caption for entry in listing.entries] == [tables_of_spreadsheets.CAPTION]
    assert not listing.broken
