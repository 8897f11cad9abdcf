"""Scripts of the pages come from pinned tarballs, whole and unchanged, or not at all."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build hook over a lock and a vendor folder of its own."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(module, "LOCK", tmp_path / "assets.lock.json")
    return module


def tarball(content: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/dist/a.js")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def pinned(hook: ModuleType, raw: bytes, content: bytes) -> dict[str, Any]:
    package = {
        "name": "a",
        "version": "1.0.0",
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode(),
        "files": [
            {
                "from": "dist/a.js",
                "to": "a.min.js",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
    }
    hook.LOCK.write_text(json.dumps({"packages": [package]}), "utf-8")
    return package


def test_the_pinned_file_is_put_in_place(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tarball(b"let a")
    pinned(hook, raw, b"let a")
    monkeypatch.setattr(hook, "fetch", lambda *_: raw)
    assert not hook.complete()
    hook.fill()
    assert hook.complete()
    assert (hook.VENDOR / "a.min.js").read_bytes() == b"let a"


def test_another_tarball_is_refused_and_nothing_is_written(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(hook, tarball(b"let a"), b"let a")
    monkeypatch.setattr(hook, "fetch", lambda *_: tarball(b"let evil"))
    with pytest.raises(hook.AssetsUnavailable):
        hook.fill()
    assert not hook.VENDOR.exists()


def test_another_file_in_the_tarball_is_refused(hook: ModuleType) -> None:
    raw = tarball(b"let b")
    package = pinned(hook, raw, b"let a")
    with pytest.raises(hook.AssetsUnavailable):
        hook.extract(package, raw, update=False)


def test_a_file_that_was_changed_here_is_noticed(hook: ModuleType) -> None:
    pinned(hook, tarball(b"let a"), b"let a")
    hook.VENDOR.mkdir()
    (hook.VENDOR / "a.min.js").write_bytes(b"let c")
    assert not hook.complete()


def test_without_npm_the_build_goes_on(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned(hook, tarball(b"let a"), b"let a")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(hook.AssetsUnavailable):
        hook.fill()

    class App:
        said: list[str] = []

        def display_warning(self, text: str) -> None:
            self.said.append(text)

    build = hook.AssetsHook(str(ROOT), {}, None, None, "", "wheel", App())
    build.initialize("standard", {})
    assert "without scripts" in App.said[0]


def test_the_files_that_lie_here_are_the_pinned_ones() -> None:
    vendor = ROOT / "catalog" / "yaosu" / "static" / "vendor"
    if not vendor.is_dir():
        pytest.skip("no npm at build time: the pages work without scripts")
    packages = json.loads((ROOT / "assets.lock.json").read_text("utf-8"))["packages"]
    for file in (file for package in packages for file in package["files"]):
        found = hashlib.sha256((vendor / file["to"]).read_bytes()).hexdigest()
        assert found == file["sha256"], file["to"]
