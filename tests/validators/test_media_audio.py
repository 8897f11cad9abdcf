"""Sounds are decoded whole; headers that lie are named; silence, clipping and noise are counted."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediafiles import bilingual, found, in_parts, kinds, looked, seen, value, wav
from yaosu_validators.filecheck import files_of
from yaosu_validators.mediacheck import sounds


def tone(seconds: float = 1.0, rate: int = 16000, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def test_a_hundred_real_recordings_have_the_rates_and_durations_that_they_state(
    testdata: Path,
) -> None:
    folder = testdata / "ai" / "fsdd"
    result = seen(folder, "media.audio")
    assert result.evidence["rates"] == {"8000": 100}
    assert result.evidence["bits"] == {"16": 100}
    assert result.evidence["channels"] == {"1": 100}
    lengths = []
    for path in (folder / "recordings").glob("*.wav"):
        with wave.open(str(path)) as other:  # the reader of the standard library as a witness
            lengths.append(other.getnframes() / other.getframerate())
    assert value(result, "tc609:02080406") == pytest.approx(sum(lengths), abs=1e-3)
    assert result.evidence["seconds"]["min"] == pytest.approx(min(lengths), rel=1e-5)
    assert value(result, "own:audio_true_headers") == 1.0
    assert not result.findings


def test_real_mp3_flac_and_wav_decode_to_what_they_declare(testdata: Path) -> None:
    folder = testdata / "ai" / "llama-factory" / "data" / "mllm_demo_data"
    with (folder / "3.flac").open("rb") as file:
        sound = sounds.sound_of(file, "flac", (folder / "3.flac").stat().st_size,
                                max_frames=1 << 30, max_bytes=1 << 30, silence_db=-50)  # fmt: skip
    assert (sound.frames, sound.rate, sound.bits, sound.lies) == (93680, 16000, 16, [])
    result = seen(folder, "media.audio")
    assert value(result, "own:audio_decodable") == 1.0
    assert result.evidence["rates"] == {"16000": 2, "44100": 1, "48000": 1}
    assert not result.findings


def test_opus_is_said_to_be_not_decoded(testdata: Path) -> None:
    folder = testdata / "ai" / "hf-datasets-fixtures" / "tests" / "features" / "data"
    evidence = seen(folder, "media.audio").evidence
    assert (evidence["decoded"], evidence["not_decoded"]) == (2, 1)


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("data", wav(tone(), data_size=64000), "its data should be longer than they are"),
        ("riff", wav(tone(), riff_size=90000), "its header tells of more bytes than there are"),
        ("block", wav(tone(), data_size=31999), "its data end within a sample"),
    ],
)
def test_a_header_that_lies_is_named(tmp_path: Path, name: str, content: bytes, note: str) -> None:
    (tmp_path / f"{name}.wav").write_bytes(content)
    result = seen(tmp_path, "media.audio")
    assert found(result) == [("sound-header", f"{name}.wav: {note}")]
    assert bilingual(result.findings)


def test_a_flac_that_breaks_off_is_not_as_long_as_it_says(testdata: Path, tmp_path: Path) -> None:
    folder = testdata / "ai" / "llama-factory" / "data" / "mllm_demo_data"
    whole = (folder / "3.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) * 2 // 3])
    assert found(seen(tmp_path, "media.audio")) == [
        ("sound-header", "cut.flac: it is not as long as its header says")
    ]


def test_the_size_that_a_stream_leaves_open_is_no_lie(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone(), data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF))
    result = seen(tmp_path, "media.audio")
    assert not result.findings
    assert result.evidence["of_unknown_length"] == 1
    assert value(result, "tc609:02080406") == 1.0


def test_what_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "head.wav").write_bytes(wav(tone())[:20])
    (tmp_path / "none.wav").write_bytes(wav(tone(0)))
    (tmp_path / "noise.flac").write_bytes(b"fLaC" + bytes(range(256)) * 20)
    (tmp_path / "noise.mp3").write_bytes(b"ID3\4\0\0\0\0\0\0" + b"\x55" * 4000)
    (tmp_path / "zero.wav").write_bytes(wav(tone(), rate=0))
    result = seen(tmp_path, "media.audio")
    assert len(result.findings) == 6
    assert kinds(result) == {"sound-broken"}
    assert value(result, "own:audio_decodable") == 0


@pytest.mark.parametrize(("bits", "tag"), [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3)])
def test_every_depth_gives_the_same_sound(tmp_path: Path, bits: int, tag: int) -> None:
    both = np.stack([tone(), tone(level=0.25)], axis=1)
    (tmp_path / "a.wav").write_bytes(wav(both, bits=bits, tag=tag))
    with (tmp_path / "a.wav").open("rb") as file:
        sound = sounds.sound_of(file, "wav", (tmp_path / "a.wav").stat().st_size,
                                max_frames=1 << 30, max_bytes=1 << 30, silence_db=-50)  # fmt: skip
    assert (sound.frames, sound.channels, sound.rate) == (16000, 2, 16000)
    assert sound.peak == pytest.approx(0.5, abs=0.02)
    assert sound.silence == 0


def measured(samples: np.ndarray, tmp_path: Path, **options: int) -> sounds.Sound:
    (tmp_path / "a.wav").write_bytes(wav(samples))
    with (tmp_path / "a.wav").open("rb") as file:
        limits = {"max_frames": 1 << 30, "max_bytes": 1 << 30, **options}
        return sounds.sound_of(
            file, "wav", (tmp_path / "a.wav").stat().st_size, silence_db=-50, **limits
        )


def test_silence_clipping_and_noise_are_counted(tmp_path: Path) -> None:
    half = np.concatenate([tone(), np.zeros(16000)])
    assert measured(half, tmp_path).silence == 0.5
    assert measured(tone(), tmp_path).clipping == 0
    loud = np.clip(tone(level=1.5), -1, 1)
    assert 0.3 < measured(loud, tmp_path).clipping < 0.6  # |sin| > 2/3 is 54 % of the time
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 32000)
    speech = noise + np.concatenate([tone(), np.zeros(16000)])
    expected = 10 * np.log10((0.5**2 / 2 / 2) / 0.01**2)  # half of the time is speech
    assert measured(speech, tmp_path).snr_db == pytest.approx(expected, abs=1.0)


def test_a_sound_beyond_the_limit_is_measured_in_part_and_that_is_said(tmp_path: Path) -> None:
    sound = measured(tone(2.0), tmp_path, max_frames=20000)
    assert sound.cut_short
    assert sound.frames == 20000
    assert not sound.lies
    result = seen(tmp_path, "media.audio", max_frames=20000)
    assert result.evidence["measured_in_part"] == 1


@settings(max_examples=20)
@given(st.integers(1, 5000), st.data())
def test_numbers_do_not_depend_on_the_size_of_pieces(count: int, data: st.DataObject) -> None:
    samples = np.random.default_rng(count).normal(0, 0.6, (count, 2)).clip(-1, 1)
    pieces = samples.astype(np.float32)
    whole, cut = sounds._Meter(-50), sounds._Meter(-50)
    whole.add(pieces, 8000)
    at = 0
    while at < count:
        size = data.draw(st.integers(1, 700))
        cut.add(pieces[at : at + size], 8000)
        at += size
    first, second = sounds.Sound(), sounds.Sound()
    whole.settle(first)
    cut.settle(second)
    assert repr(first) == repr(second)


def test_any_cut_of_the_files_gives_the_same_conclusion(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.wav").write_bytes(wav(tone(0.2 + number / 10)))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    whole = repr(looked(tmp_path, "media.audio").conclusions[0])
    for cuts in ([1], [2, 5], list(range(1, 8))):
        assert repr(in_parts(files_of(tmp_path), "media.audio", cuts)) == whole
