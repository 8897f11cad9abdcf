"""The data files that a descriptor names, and the paths that a market must not take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yaosu_schemas.paths import is_remote, safe_path

from .errors import Problem, UnsafePath

OWN_NAMES = frozenset({"datapackage.json", "datapackage.yaml", "datapackage.yml"})
"""Names that the descriptor itself has beside the data."""


def path_problems(descriptor: dict[str, Any]) -> Iterator[Problem]:
    """Yield one problem per path that a service must not accept from strangers (S9, security)."""
    good: dict[str, str] = {}
    for pointer, path in resource_paths(descriptor):
        if is_remote(path):
            yield Problem(
                pointer=pointer,
                code="remote_path",
                en="remote paths are recorded in `sources`, never fetched: give the file itself",
                zh="不接受远程路径（请写入 sources），请提供文件本身",
            )
            continue
        try:
            good.setdefault(safe_path(path), pointer)
        except UnsafePath as error:
            yield Problem(pointer=pointer, code=error.code, en=error.en, zh=error.zh)
            continue
        if path.casefold() in OWN_NAMES:
            yield Problem(
                pointer=pointer,
                code="unsafe_path",
                en="this is the name of the descriptor itself",
                zh="该名称由数据描述文件自身占用",
            )
    yield from _under_files(good)


def _under_files(paths: dict[str, str]) -> Iterator[Problem]:
    """Yield one problem per path that would need a folder where the package has a file."""
    for path, pointer in paths.items():
        parts = path.split("/")
        if any("/".join(parts[:n]) in paths for n in range(1, len(parts))):
            yield Problem(
                pointer=pointer,
                code="path_collision",
                en="a part of this path is a file of the package",
                zh="路径的一部分已是包内的文件",
            )


def resource_paths(descriptor: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (JSON pointer, path) of every data path of the descriptor."""
    resources = descriptor.get("resources")
    for i, resource in enumerate(resources if isinstance(resources, list) else ()):
        path = resource.get("path") if isinstance(resource, dict) else None
        if isinstance(path, str):
            yield f"/resources/{i}/path", path
        elif isinstance(path, list):
            for j, part in enumerate(path):
                if isinstance(part, str):
                    yield f"/resources/{i}/path/{j}", part


def files_of(descriptor: dict[str, Any]) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield (JSON pointer, path, sha256 hex or "", bytes) of every data file."""
    for i, resource in enumerate(descriptor.get("resources") or ()):
        path = resource.get("path")
        if isinstance(path, str):
            yield f"/resources/{i}", path, _hex(resource.get("hash")), resource.get("bytes")
        elif isinstance(path, list):
            parts = {p.get("path"): p for p in resource.get("parts") or () if isinstance(p, dict)}
            for j, name in enumerate(path):
                part = parts.get(name, {})
                yield (
                    f"/resources/{i}/path/{j}",
                    str(name),
                    _hex(part.get("hash")),
                    part.get("bytes"),
                )


def _hex(value: object) -> str:
    return value[7:] if isinstance(value, str) and value.startswith("sha256:") else ""
