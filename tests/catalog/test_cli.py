"""The command line's promises: names, exit codes, one JSON document, two languages."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from badline import Answer, Asked, scripted
from terminal import Terminal, terminal_in
from yaosu.cli import COMMANDS, loaded
from yaosu.commands.reference import reference
from yaosu.model import ListingState, TradeState
from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Relation

ROOT = Path(__file__).resolve().parents[2]
YAOSU = [sys.executable, "-c", "from yaosu.cli import main; main()"]


@pytest.fixture
def yaosu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    yield from terminal_in(tmp_path, capsys, monkeypatch)


def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# --- names ------------------------------------------------------------------------------------

CONTRACT = [
    *("demo", "serve", "describe", "validate", "submit", "search", "order", "trade", "review"),
    *(
        "keys",
        "settings",
        "search-index",
        "fetch",
        "verify",
        "connect",
        "db",
        "worker",
        "backup",
        "restore",
    ),
]


@pytest.mark.parametrize("name", CONTRACT)
def test_every_command_of_the_contract_is_there(name: str) -> None:
    assert name in COMMANDS


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_says_what_it_is_for_in_both_languages(yaosu: Terminal, name: str) -> None:
    assert COMMANDS[name].en.isascii()
    assert not COMMANDS[name].zh.isascii()
    said = yaosu(name, "--help")
    assert said.code == 0
    assert re.search(r"[\u4e00-\u9fff]", said.out)


def test_every_parameter_says_what_it_means_in_both_languages() -> None:
    silent = []

    def look(command: object, path: str) -> None:
        for parameter in command.params:  # type: ignore[attr-defined]
            text = getattr(parameter, "help", None) or ""
            both = re.search(r"[A-Za-z]", text) and re.search(r"[\u4e00-\u9fff]", text)
            if parameter.name != "help" and not both:
                silent.append(f"{path} {parameter.name}")
        for name, child in (getattr(command, "commands", None) or {}).items():
            look(child, f"{path} {name}")

    for name in COMMANDS:
        look(loaded(name), name)
    assert silent == []


def test_every_step_that_a_person_may_take_has_a_command() -> None:
    sources = "".join(
        p.read_text("utf-8")
        for p in [
            *(ROOT / "catalog/yaosu/commands").glob("*.py"),
            ROOT / "catalog/yaosu/client/remote.py",
            ROOT / "catalog/yaosu/client/submission.py",
        ]
    )
    missing = [
        step.action
        for table in (LISTING_STEPS, TRADE_STEPS)
        for step in table
        if step.actors != {Relation.SYSTEM}
        and f'"{step.action}"' not in sources
        and f".{step.action}(" not in sources
    ]
    assert missing == []
    assert ListingState
    assert TradeState


def test_the_reference_is_that_of_the_commands() -> None:
    written = (ROOT / "docs/cli.md").read_text("utf-8")
    assert written == reference(), "run: python -m yaosu.commands.reference > docs/cli.md"


def test_help_loads_nothing_that_it_does_not_show() -> None:
    code = (
        "import sys\nfrom yaosu.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = ('httpx2', 'rich', 'pyarrow', 'sqlalchemy', 'fastapi', 'jsonschema', 'pydantic')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules],"
        " [m for m in sys.modules if m.startswith('yaosu.commands')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED [] []"


def test_completion_knows_commands_and_their_options(yaosu: Terminal) -> None:
    asked = {"_YAOSU_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    found = subprocess.run(
        YAOSU,
        env={**os.environ, **asked, "COMP_WORDS": "yaosu val"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == ["validate"]
    found = subprocess.run(
        YAOSU,
        env={**os.environ, **asked, "COMP_WORDS": "yaosu validate --sch", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == ["--schema"]


# --- exit codes -------------------------------------------------------------------------------


def test_a_valid_table_is_0_and_says_how_much_was_seen(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,x\n2,y\n")
    said = yaosu("validate", tmp_path / "a.csv")
    assert said.code == 0
    assert "2 rows" in said.out
    assert "100%" in said.out
    assert "有效" in said.out


def test_what_is_wrong_inside_is_1_with_file_row_and_field(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,x\nno,y\n")
    (tmp_path / "s.json").write_text(
        json.dumps({"fields": [{"name": "id", "type": "integer"}, {"name": "name"}]})
    )
    said = yaosu("validate", tmp_path / "a.csv", "--schema", tmp_path / "s.json")
    assert said.code == 1
    assert re.search(r"a\.csv +3 +id", said.out)
    body = yaosu("validate", tmp_path / "a.csv", "--schema", tmp_path / "s.json", "--json").json
    assert body["valid"] is False
    error = body["tasks"][0]["errors"][0]
    assert (error["rowNumber"], error["fieldName"]) == (3, "id")


def test_a_broken_file_inside_is_1(yaosu: Terminal, tmp_path: Path) -> None:
    whole = gzip.compress(b"id\n" + b"1\n" * 1000)
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert yaosu("validate", tmp_path / "a.csv.gz").code == 1


@pytest.mark.parametrize(
    "args",
    [
        ("validate", "absent.csv"),
        ("validate",),
        ("validate", "x.csv", "--type", "song"),
        ("validate", "x.csv", "--no-such-option"),
        ("nonsense",),
        ("describe", "absent"),
        ("submit", "absent"),
        ("verify", "absent"),
        ("trade", "show", "trd_1"),
        ("search", "x", "--facet", "nonsense"),
        ("worker",),
    ],
    ids=" ".join,
)
def test_wrong_use_is_2(yaosu: Terminal, args: tuple[str, ...]) -> None:
    said = yaosu(*args)
    assert said.code == 2
    assert said.err
    assert "Traceback" not in said.err


def test_a_market_that_does_not_answer_is_2_with_the_next_step(yaosu: Terminal) -> None:
    said = yaosu("search", "x", "--json", market=nobody())
    assert said.code == 2
    assert said.json["error"]["code"] == "unavailable"
    assert "yaosu demo" in said.err
    assert "没有响应" in said.err


def test_a_page_as_report_is_written(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n1,2\n")
    said = yaosu("validate", tmp_path / "a.csv", "--html", tmp_path / "r.html", "--json")
    assert said.code == 1
    assert (tmp_path / "r.html").read_text("utf-8").lower().startswith("<!doctype html>")
    assert said.json["valid"] is False


def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    reached = threading.Event()

    def script(asked: Asked) -> Answer:
        reached.set()
        time.sleep(20)
        return Answer(json={})

    with scripted(script) as (address, _):
        running = subprocess.Popen(
            [*YAOSU, "trade", "list"],
            env={**os.environ, "YAOSU_MARKET": address, "YAOSU_KEY": "yk_x"},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reached.wait(20)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    many = [{"listing_id": f"lst_{i}", "card": {"title": "x" * 200}} for i in range(50)]
    page = Answer(json={"items": many, "total": 50, "next": None, "facets": {}})
    with scripted(lambda _: page) as (address, _):
        running = subprocess.Popen(
            [*YAOSU, "search", "--limit", "50", "--json"],
            env={**os.environ, "YAOSU_MARKET": address},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(20) == 0
        assert running.stderr is not None
        assert running.stderr.read() == b""


# --- what is shown ----------------------------------------------------------------------------


def test_words_of_strangers_cannot_steer_the_terminal(yaosu: Terminal) -> None:
    title = "\x1b[31mred\x1b]0;owned\x07 \u202egnp [bold]x[/bold]"
    hit = {"listing_id": "lst_1", "card": {"title": title, "publisher": "p"}}
    page = Answer(json={"items": [hit], "total": 1, "next": None, "facets": {}})
    with scripted(lambda _: page) as (address, _):
        said = yaosu("search", "x", market=address)
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "\x07" not in said.out
    assert "\u202e" not in said.out
    assert "[bold]x[/bold]" in said.out


def test_settings_are_shown_with_meaning_and_origin_but_secrets_are_not(
    yaosu: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "yaosu.toml").write_text('market = "http://127.0.0.1:1"\n')
    rows = {r["name"]: r for r in yaosu.ok("settings", key="yk_secret")["settings"]}
    assert rows["market"]["origin"] == "file"
    assert (rows["key"]["value"], rows["key"]["origin"]) == ("•••", "environment")
    assert rows["data"]["origin"] == "default"
    assert all(r["meaning"] and r["meaning_zh"] for r in rows.values())
    assert "yk_secret" not in yaosu("settings").out


def test_describing_again_keeps_what_a_person_wrote(yaosu: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.csv").write_text("id,name\n1,x\n")
    assert yaosu("describe", folder).code == 0
    place = folder / "datapackage.json"
    descriptor = json.loads(place.read_text("utf-8"))
    assert descriptor["resources"][0]["hash"].startswith("sha256:")
    descriptor["title"] = "某人写的标题"
    place.write_text(json.dumps(descriptor), "utf-8")
    (folder / "a.csv").write_text("id,name\n1,x\n2,y\n")
    told = yaosu.ok("describe", folder)
    again = json.loads(place.read_text("utf-8"))
    assert again["title"] == "某人写的标题"
    assert again["resources"][0]["hash"] != descriptor["resources"][0]["hash"]
    assert told["todo"]
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_a_description_in_ruins_is_not_overwritten(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "datapackage.json").write_text('{"title": "half')
    said = yaosu("describe", tmp_path)
    assert said.code == 1
    assert (tmp_path / "datapackage.json").read_text() == '{"title": "half'


def test_a_dry_run_says_everything_that_is_wrong_at_once(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("id\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    paths = ["there.csv", "absent.csv", "../up.csv", "http://x/y.csv", "link.csv", ".hidden.csv"]
    descriptor = {
        "name": "a",
        "resources": [{"name": f"r{i}", "path": p} for i, p in enumerate(paths)],
    }
    descriptor["resources"][0]["hash"] = "sha256:" + "0" * 64  # type: ignore[index]
    (tmp_path / "datapackage.json").write_text(json.dumps(descriptor))
    said = yaosu("submit", "--dry-run", tmp_path, "--json")
    assert said.code == 1
    codes = {(p["pointer"], p["code"]) for p in said.json["problems"]}
    assert {
        ("/resources/0/hash", "hash"),
        ("/resources/1/path", "no_file"),
        ("/resources/2/path", "unsafe_path"),
        ("/resources/3/path", "remote_path"),
        ("/resources/4/path", "unsafe_path"),
        ("/resources/5/path", "unsafe_path"),
    } <= codes
    assert any(p.startswith("/dataElement") for p, _ in codes)
    assert said.json["asked_market"] is False


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 5000, "\ufeff{}x", "null"]
)
def test_what_is_no_descriptor_is_1(yaosu: Terminal, tmp_path: Path, text: str) -> None:
    (tmp_path / "datapackage.json").write_text(text, "utf-8")
    said = yaosu("submit", "--dry-run", tmp_path, "--json")
    assert said.code == 1
    assert said.json["error"]["code"] == "malformed"


def test_a_yaml_descriptor_reads_as_its_json(tmp_path: Path) -> None:
    from yaosu.client.submission import read_descriptor

    (tmp_path / "datapackage.yaml").write_text("name: a\ncreated: 2026-09-01\nn: 1\n")
    assert read_descriptor(tmp_path)[0] == {"name": "a", "created": "2026-09-01", "n": 1}


def test_a_signing_key_stays_here_and_is_not_overwritten(yaosu: Terminal, tmp_path: Path) -> None:
    made = yaosu.ok("keys", "new-signing", "--no-register")
    place = Path(made["file"])
    assert place == tmp_path / ".config/yaosu/signing.pem"
    assert place.stat().st_mode & 0o077 == 0
    before = place.read_bytes()
    said = yaosu("keys", "new-signing", "--no-register", "--json")
    assert said.code == 2
    assert said.json["error"]["code"] == "already_exists"
    assert place.read_bytes() == before


def test_connectors_are_listed_and_read_without_a_market(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "c" / "one").mkdir(parents=True)
    (tmp_path / "c" / "one" / "a.csv").write_text("id\n1\n")
    (tmp_path / "c" / "one" / "datapackage.json").write_text(
        json.dumps({"name": "one", "resources": [{"name": "a", "path": "a.csv"}]})
    )
    names = {item["name"] for item in yaosu.ok("connect", "list")["items"]}
    assert {"folder", "bilingual-records", "trading-record"} <= names
    told = yaosu.ok("connect", "import", "folder", tmp_path / "c", "--dry-run")
    assert len(told["added"]) == 1


def test_ctrl_c_while_validating_gives_the_report_so_far(tmp_path: Path) -> None:
    big = tmp_path / "big.csv"
    big.write_bytes(b"id\n" + b"1\n" * 20_000_000)
    running = subprocess.Popen(
        [*YAOSU, "validate", str(big), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def reading() -> bool:
        try:
            fds = Path(f"/proc/{running.pid}/fd")
            return any(os.readlink(fd) == str(big) for fd in fds.iterdir())
        except OSError:
            return False

    end = time.monotonic() + 60
    while not reading():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    report = json.loads(out)
    assert any("partial" in warning for warning in report["warnings"])
    assert report["checks"][0]["coverage"]["rows_total"] is None


def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_word() -> None:
    code = """
import os, signal, sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
from yaosu.__main__ import main
main()
"""
    for module in ("typer.core", "yaosu.commands.terminal"):
        command = [sys.executable, "-c", code, module]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", ""), module


@pytest.mark.parametrize("workers", ["1", "3"])
def test_ctrl_c_while_checks_are_still_loaded_gives_a_partial_report(
    tmp_path: Path, workers: str
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "a", "answer": "b"}\n' * 2000)
    page = tmp_path / "page.html"
    words = ["validate", str(tmp_path), "--checks", "structure,quality", "--workers", workers]
    running = subprocess.Popen(
        [*YAOSU, *words, "--json", "--html", str(page)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while "libarrow" not in Path(f"/proc/{running.pid}/maps").read_text():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    report = json.loads(out)
    assert report["partial"] is True
    assert report["valid"] is False, "nothing is shown of what was not looked at"
    assert any("partial" in warning for warning in report["warnings"])
    assert all(c["coverage"]["rows_total"] is None for c in report["checks"])
    assert "partial" in page.read_text("utf-8")


def test_each_kind_of_error_is_told_with_how_to_mend_it_once_and_never_to_a_program(
    yaosu: Terminal, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    fields = [{"name": n, "type": "integer"} for n in ("id", "n", "m")]
    schema.write_text(json.dumps({"fields": fields}))
    data = tmp_path / "a.csv"
    data.write_text("id,n,m\n1,x,1\n2,2,y\n3,3\n4,4,4,4\n" + "5,z,5\n" * 50)
    said = yaosu("validate", data, "--schema", schema)
    assert said.code == 1
    assert said.out.count("list the placeholder under `missingValues`") == 1
    assert said.out.count("若为占位符，列入 missingValues") == 1
    assert re.search(r"a\.csv +2 +n +'x' cannot be read: .* \[type-error\] *\n", said.out)
    assert re.search(r"a\.csv +5 +#4 +row 5 has an extra cell", said.out)
    assert re.search(r"a\.csv +6–55 +n +50 ×, first: 'z' cannot be read", said.out)
    assert re.search(r"共 50 个，首个：“z”无法读取", said.out)
    told = yaosu("validate", data, "--schema", schema, "--json")
    assert told.json["stats"]["errors"] == 54
    assert "missingValues" not in told.out + told.err


def test_what_is_not_there_is_named_and_said_in_chinese(yaosu: Terminal, tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("id\n1\n")
    for words, thing in [
        ((tmp_path / "gone.csv",), "gone.csv"),
        ((data, "--schema", tmp_path / "gone.json"), "gone.json"),
        ((data, "--html", tmp_path / "none" / "page.html"), "page.html"),
        ((data, "--findings", tmp_path / "none" / "f.jsonl"), "f.jsonl"),
    ]:
        said = yaosu("validate", *words)
        assert said.code == 2
        assert thing in said.err
        assert "文件或文件夹不存在" in said.err
    broken = tmp_path / "schema.json"
    broken.write_text('{"fields": [\n{"name": }]}')
    said = yaosu("validate", data, "--schema", broken)
    assert "此处缺少值（第 2 行第 10 个字符）" in said.err


def test_options_of_a_check_that_does_not_run_are_refused(yaosu: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    said = yaosu("validate", tmp_path, "--set", "corpus.text.listed=1")
    assert said.code == 2
    assert "corpus.text" in said.err


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_terminal_of_any_encoding_gets_its_table(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("id,名\n1,二\n3\n", encoding="utf-8")
    said = subprocess.run(
        [*YAOSU, "validate", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
    )
    assert said.returncode == 1, said.stderr
    assert b"missing-cell" in said.stdout
    lines = said.stdout.decode(encoding).splitlines()
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(("locale", "tag"), [("en_US.UTF-8", "en"), ("zh_CN.UTF-8", "zh-Hans")])
def test_the_page_is_in_the_language_of_the_terminal(
    yaosu: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str, tag: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    (tmp_path / "a.csv").write_text("id\n1\n")
    page = tmp_path / "page.html"
    assert yaosu("validate", tmp_path / "a.csv", "--html", page).code == 0
    assert f'<html lang="{tag}">' in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("option", "value", "en", "zh"),
    [("--limit-errors", -1, "0 is no limit", "0 表示不限"), ("--workers", 0, "at least", "至少")],
)
def test_a_number_that_makes_no_sense_is_refused_with_those_that_do(
    yaosu: Terminal, tmp_path: Path, option: str, value: int, en: str, zh: str
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    said = yaosu("validate", tmp_path / "a.csv", f"{option}={value}")
    assert said.code == 2
    assert f"{option} {value}" in said.err
    assert en in said.err
    assert zh in said.err
