"""What containers of videos say is read from their boxes; those that break off are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediafiles import bilingual, found, in_parts, looked, matroska, mp4, seen, value
from yaosu_validators.filecheck import files_of
from yaosu_validators.media import by_content
from yaosu_validators.mediacheck.containers import Video, video_of

KNOWN = {
    "llama-factory/data/mllm_demo_data/1.mp4": (640, 360, 243, 9.72, 25.0, "avc1"),
    "llama-factory/data/mllm_demo_data/2.avi": (320, 240, 270, 9.025, 29.917, "H264"),
    "llama-factory/data/mllm_demo_data/3.mp4": (640, 360, 146, 6.089, 23.976, "avc1"),
    "llama-factory/data/mllm_demo_data/4.mp4": (224, 224, 150, 5.0, 30.0, "avc1"),
    "hf-datasets-fixtures/tests/features/data/test_video_66x50.mov": (66, 50, 87, 1.45, 60.0,
                                                                      "avc1"),
    "lerobot-g1/videos/chunk-000/observation.images.cam_high/episode_000002.mp4": (
        640, 480, 343, 11.433, 30.0, "av01"),
}  # fmt: skip


def read(path: Path) -> Video | None:
    with path.open("rb") as file:
        kind = by_content(file.read(4096))
        return None if kind is None else video_of(file, kind.format)


@pytest.mark.parametrize(("path", "known"), KNOWN.items(), ids=[Path(p).name for p in KNOWN])
def test_real_videos_say_size_length_rate_and_codec(
    testdata: Path, path: str, known: tuple[object, ...]
) -> None:
    video = read(testdata / "ai" / path)
    assert video is not None
    facts = (video.width, video.height, video.frames, video.duration_s, video.fps, video.codec)
    assert facts == known
    assert not video.truncated


def test_written_videos_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(mp4(45, 15, 320, 200, index_first=False))
    (tmp_path / "b.mkv").write_bytes(matroska(50, 176, 144, 2.0))
    assert read(tmp_path / "a.mp4") == Video(
        width=320, height=200, frames=45, duration_s=3.0, fps=15.0, codec="av01", faststart=False
    )
    assert read(tmp_path / "b.mkv") == Video(
        width=176, height=144, frames=50, duration_s=2.0, fps=25.0, codec="V_VP9"
    )


def test_videos_that_break_off_are_named(testdata: Path, tmp_path: Path) -> None:
    source = testdata / "ai" / "llama-factory" / "data" / "mllm_demo_data"
    for name in ("1.mp4", "2.avi"):
        whole = (source / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.mkv").write_bytes(matroska()[:-30])
    (tmp_path / "early.mp4").write_bytes(mp4(data=b"\0" * 999)[:-500])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "words.mp4").write_text("no video")
    result = seen(tmp_path, "media.video")
    reasons = {note.split(": ")[0]: note.split(": ")[1] for _, note in found(result)}
    cut = "it breaks off before its end"
    assert reasons == {
        "1.mp4": cut, "2.avi": cut, "c.mkv": cut, "early.mp4": cut,
        "empty.mp4": "it is empty", "words.mp4": "it is no readable video",
    }  # fmt: skip
    assert value(result, "own:video_whole") == 0
    assert bilingual(result.findings)


def test_the_same_video_twice_is_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(mp4())
    (tmp_path / "c.mp4").write_bytes(mp4(31))
    result = seen(tmp_path, "media.video")
    assert value(result, "tc609:02080302") == 1 / 3
    assert value(result, "tc609:02080304") == 3.033


@settings(max_examples=150)
@given(st.sampled_from(["mp4", "mkv"]), st.data())
def test_no_change_of_any_byte_breaks_the_reader(format_: str, data: st.DataObject) -> None:
    import io

    content = bytearray(mp4() if format_ == "mp4" else matroska(5))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    video = video_of(io.BytesIO(bytes(content[:cut])), format_)
    assert video is None or isinstance(video, Video)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not on the PATH")
def test_ffprobe_agrees_on_real_videos(testdata: Path) -> None:
    folder = testdata / "ai" / "llama-factory" / "data" / "mllm_demo_data"
    said = seen(folder, "media.video", ffprobe=True).evidence["ffprobe"]
    assert said == {"asked": True, "answered": 4, "disagrees": 0}


def test_a_ffprobe_on_the_path_is_asked_and_its_doubt_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, videos = tmp_path / "bin", tmp_path / "videos"
    programs.mkdir()
    videos.mkdir()
    program = programs / "ffprobe"
    program.write_text(
        '#!/bin/sh\necho \'{"streams":[{"width":64,"height":50,"duration":"1.0"}]}\''
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (videos / "a.mp4").write_bytes(mp4())
    result = seen(videos, "media.video", ffprobe=True)
    assert result.evidence["ffprobe"] == {"asked": True, "answered": 1, "disagrees": 1}
    assert found(result) == [("video-header", "a.mp4: ffprobe reads another height")]


def test_any_cut_of_the_files_gives_the_same_conclusion(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes(mp4(10 + number))
    whole = repr(looked(tmp_path, "media.video").conclusions[0])
    for cuts in ([1], [2, 4], list(range(1, 6))):
        assert repr(in_parts(files_of(tmp_path), "media.video", cuts)) == whole
