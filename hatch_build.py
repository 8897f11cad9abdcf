"""Fills the pages' vendor folder from pinned npm tarballs; a build without npm goes on without it.

`assets.lock.json` names each package, its version, the SHA-512 of its tarball and the SHA-256 of
each file taken from it. Files that match are left alone. `python hatch_build.py --update` renews
the pins after a version in the lock was changed by hand.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "assets.lock.json"
VENDOR = ROOT / "catalog" / "yaosu" / "static" / "vendor"
NPM_SECONDS = 60


class AssetsUnavailable(Exception):
    """The files could not be fetched; the pages then work as plain HTML."""


def read_lock() -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = json.loads(LOCK.read_text("utf-8"))["packages"]
    return packages


def complete() -> bool:
    """Tell whether every locked file is there with the locked digest."""
    return all(
        (VENDOR / file["to"]).is_file()
        and hashlib.sha256((VENDOR / file["to"]).read_bytes()).hexdigest() == file["sha256"]
        for package in read_lock()
        for file in package["files"]
    )


def fetch(name: str, version: str, folder: Path) -> bytes:
    """Return the tarball of one package, fetched by the npm client at hand (no scripts run)."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetsUnavailable("npm is not installed")
    before = set(folder.iterdir())
    try:
        subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", f"{name}@{version}"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=NPM_SECONDS,
        )
        (made,) = set(folder.iterdir()) - before
    except (OSError, ValueError, subprocess.SubprocessError) as why:
        raise AssetsUnavailable(f"npm could not fetch {name} {version}: {why}") from why
    return made.read_bytes()


def extract(package: dict[str, Any], tarball: bytes, *, update: bool) -> dict[str, bytes]:
    """Return the wanted files by target name; refuse any that is not what the lock says."""
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if update:
        package["integrity"] = integrity
    if package["integrity"] != integrity:
        raise AssetsUnavailable(f"the tarball of {package['name']} is not the pinned one")
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(tarball)) as tar:
        for file in package["files"]:
            member = tar.extractfile(f"package/{file['from']}")
            if member is None:
                raise AssetsUnavailable(f"{package['name']} holds no {file['from']}")
            content = member.read()
            digest = hashlib.sha256(content).hexdigest()
            if update:
                file["sha256"] = digest
            if file["sha256"] != digest:
                raise AssetsUnavailable(f"{file['from']} is not the pinned file")
            files[file["to"]] = content
    return files


def fill(*, update: bool = False) -> None:
    """Write all locked files, or none; raise AssetsUnavailable where that cannot be done."""
    packages = read_lock()
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            tarball = fetch(package["name"], package["version"], Path(folder))
            files |= extract(package, tarball, update=update)
    if update:
        LOCK.write_text(json.dumps({"packages": packages}, indent=2) + "\n", "utf-8")
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (VENDOR / name).write_bytes(content)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, without the build backend
    pass
else:

    class AssetsHook(BuildHookInterface[Any]):
        """Runs before a wheel, a source archive or an editable install is made."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if not LOCK.is_file() or complete():
                return
            try:
                fill()
            except (AssetsUnavailable, OSError, tarfile.TarError, KeyError) as why:
                self.app.display_warning(f"pages will work without scripts: {why}")


if __name__ == "__main__":
    try:
        fill(update="--update" in sys.argv)
    except AssetsUnavailable as why:
        sys.exit(str(why))
    print(f"{sum(1 for _ in VENDOR.iterdir())} files in {VENDOR.relative_to(ROOT)}")
