"""The house stays as it is drawn: folders, floors, locks, weights and words."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from yaosu_schemas import errors

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = {
    "catalog": "yaosu",
    "validators": "yaosu_validators",
    "schemas": "yaosu_schemas",
    "connectors": "yaosu_connectors",
}
LOCKS = ("requirements.lock", "requirements-test.lock")
MOST_LINES = 650

# Third parties that a client must never load, and those that even `import yaosu` must not.
SERVER_SIDE = {
    "alembic", "ckanapi", "fastapi", "frictionless", "jinja2", "opencc", "orjson", "psycopg",
    "pyarrow", "sqlalchemy", "starlette", "tantivy", "uvicorn", "zstandard",
}  # fmt: skip
CLIENT_SIDE = {"cryptography", "httpx2", "jsonschema", "pydantic", "rich", "typer", "yaml"}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file under version control that is still there."""
    run = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if run.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in run.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path.relative_to(ROOT), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def python(code: str) -> str:
    """What a fresh interpreter prints, started away from the checkout."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# --- folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [*SOURCE_ROOTS, "tests"])
def test_a_source_root_is_never_a_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_folder_of_tests_is_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(("folder", "package"), SOURCE_ROOTS.items())
def test_a_source_root_holds_one_package(folder: str, package: str) -> None:
    packages = [p.parent.name for p in (ROOT / folder).glob("*/__init__.py")]
    assert packages == [package]


def test_the_name_validators_still_belongs_to_someone_else() -> None:
    # frictionless imports that package at run time; a package of ours by that name breaks it
    assert "site-packages" in str(importlib.import_module("validators").__file__)


def test_no_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "base", "manager", "misc"}
    found = [p for p in tracked() if p.suffix == ".py" and drawers & {*p.parts, p.stem}]
    assert found == []


def test_no_file_of_code_is_too_long() -> None:
    long = {
        str(path): text.count("\n")
        for path, text in texts()
        if path.suffix == ".py" and text.count("\n") > MOST_LINES
    }
    assert long == {}


# --- dependencies ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_and_hashes_and_no_address(name: str) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("--") or "://" in line] == []
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert pins
    assert all("==" in line for line in pins)


def test_both_locks_pin_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        found = re.findall(r"^[a-z0-9][^\s;\\]*==[^\s;\\]+", (ROOT / name).read_text("utf-8"), re.M)
        assert found
        return set(found)

    assert pins(LOCKS[0]) <= pins(LOCKS[1])


def test_the_locks_hold_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra, requirements in project["project"]["optional-dependencies"].items():
        wanted += requirements if extra not in ("postgres", "sm2") else []
    names = {re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in wanted} - {"yaosu"}
    held = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / LOCKS[0]).read_text("utf-8"), re.M))
    assert names - held == set()


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    silent = [
        line.strip()
        for line in text.splitlines()
        if re.match(r'\s+"[A-Za-z0-9_\[\],.-]+(\W.*)?",', line)
        and re.search(r"[<>=~]=|types-", line)
        and "#" not in line
    ]
    assert silent == []


def test_assets_are_pinned_with_their_licence() -> None:
    for package in json.loads((ROOT / "assets.lock.json").read_text("utf-8"))["packages"]:
        assert package["integrity"].startswith("sha512-")
        assert all(re.fullmatch("[0-9a-f]{64}", file["sha256"]) for file in package["files"])
        assert any(file["to"].endswith("LICENSE") for file in package["files"])


# --- weight ------------------------------------------------------------------------------------


def test_importing_yaosu_loads_nothing_heavy() -> None:
    code = "import sys, yaosu; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(python(code).split())
    assert loaded & (SERVER_SIDE | CLIENT_SIDE) == set()
    assert loaded & {"yaosu_validators", "yaosu_connectors"} == set()


def test_importing_yaosu_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import yaosu; print(time.perf_counter() - t)"
    best = 9.0
    for _ in range(8):  # the best of a few: a busy machine is not our slowness
        best = min(best, float(python(code)))
        if best <= 0.15:
            return
    raise AssertionError(f"import yaosu takes {best:.3f} s")


def test_the_client_never_loads_the_server() -> None:
    code = (
        "import sys, yaosu; yaosu.Client; import yaosu.cli;"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert set(python(code).split()) & SERVER_SIDE == set()


# --- words -------------------------------------------------------------------------------------


def test_no_file_names_a_machine_or_a_registry() -> None:
    # Written in pieces, so that this file does not name them either.
    places = ["/" + "work/", "/" + "root/", "/" + "home/"]
    registries = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com"]
    mirrors = ["deb.debian" + ".org", "extra-" + "index-url", "--find-" + "links"]
    pattern = re.compile(
        "|".join(rf"(?<![\w.}}-]){re.escape(p)}" for p in places)
        + "|"
        + "|".join(re.escape(word) for word in [*registries, *mirrors])
    )
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def _all_errors(kind: type[errors.YaosuError] = errors.YaosuError) -> list[type[errors.YaosuError]]:
    ours = [kind] if kind.__module__.startswith("yaosu") else []
    return [*ours, *(found for sub in kind.__subclasses__() for found in _all_errors(sub))]


def test_every_error_has_a_code_of_its_own_and_two_titles() -> None:
    kinds = _all_errors()
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert re.fullmatch("[a-z_]+", kind.code)
        assert kind.title.en
        assert re.search("[\u4e00-\u9fff]", kind.title.zh)


def test_every_error_stands_in_the_tree() -> None:
    tree = errors.__doc__ or ""
    assert [kind.__name__ for kind in _all_errors() if kind.__name__ not in tree] == []
