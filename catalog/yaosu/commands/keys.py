"""`yaosu keys`: access keys, and the signing keys whose private half stays here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yaosu.errors import NotFound, Text

from .family import family
from .terminal import Json, Market, client, command, makes, note, print_json, print_table, say

app = family("Access keys, and signing keys of one's own.\n\n访问密钥与签名密钥。")

Label = Annotated[str, typer.Option(help="A name for it. 备注名。")]


@app.command("list")
@command
def list_(market: Market = None, as_json: Json = False) -> None:
    """List one's access keys and signing keys; secrets are kept nowhere.

    列出本方密钥。
    """
    who = client(market)
    access, signing = list(who.keys()), list(who.signing_keys())
    if as_json:
        print_json({"keys": access, "signing_keys": signing})
        return
    print_table(
        (
            "key 密钥",
            "kind 类型",
            "label 备注",
            "roles / public key",
            "only 仅限",
            "until 有效期",
            "revoked 撤销",
        ),
        [
            (
                k["key_id"],
                "access",
                k["label"],
                ", ".join(k["roles"]),
                " ".join([o["operation"] for o in k["operations"] or ()] + k["bound_to"]),
                k["expires_at"],
                k["revoked_at"],
            )
            for k in access
        ]
        + [
            (
                k["key_id"],
                f"signing, {k['held_by']}",
                k["label"],
                k["public_key"],
                "",
                "",
                k["revoked_at"],
            )
            for k in signing
        ],
    )


@app.command()
@command
@makes("key")
def new(
    label: Label = "",
    role: Annotated[
        list[str] | None, typer.Option(help="Only these roles; may be repeated. 角色。")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days it works. 有效天数。")] = None,
    operation: Annotated[
        list[str] | None,
        typer.Option(help="Only this operation or group; may be repeated. 仅限该操作。"),
    ] = None,
    bound_to: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="ID", help="Only for this listing or trade. 仅限该对象。"),
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Make another access key, for all that one may or for less; it is shown this once.

    新建访问密钥，可限定操作与对象（只显示一次）。
    """
    made = client(market).new_key(
        label, roles=role, days=days, operations=operation, bound_to=bound_to or ()
    )
    if as_json:
        print_json(made)
        return
    for one in made["operations"] or ():
        note(Text(one["en"], one["zh"]), mark="·")
    tell_secret(made["key_id"], made.get("key"))


@app.command()
@command
def operations(market: Market = None, as_json: Json = False) -> None:
    """List the operations that a key can be made for, in words.

    列出密钥可限定的操作。
    """
    found = list(client(market).operations())
    if as_json:
        print_json({"operations": found})
    else:
        print_table(
            ("operation 操作", "means", "含义"), [(o["operation"], o["en"], o["zh"]) for o in found]
        )


def tell_secret(key_id: str, secret: object) -> None:
    """Write a new key; where the reply was lost on the way, what to do about it."""
    if secret:
        say(Text("shown this once; keep it safe:", "仅显示一次，请妥善保存："))
        say(f"export YAOSU_KEY={secret}")
    else:
        say(
            Text(
                f"the key {key_id} was made, but the reply with it was lost: revoke it "
                "(`yaosu keys revoke`) and make another",
                f"密钥 {key_id} 已创建，但回复丢失：请撤销后重新创建",
            )
        )


@app.command()
@command
@makes("key")
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key. 密钥编号。")],
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=720, help="Hours the old one works on. 旧密钥保留小时数。")
    ] = 24,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Replace an access key of one's own; both work for a while.

    轮换访问密钥：新旧密钥在一段时间内同时有效。
    """
    made = client(market).rotate_key(key_id, overlap_hours=overlap_hours)
    if as_json:
        print_json(made)
    else:
        tell_secret(made["key_id"], made.get("key"))


@app.command()
@command
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key. 密钥编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Revoke an access key or a signing key, at once.

    立即撤销密钥。
    """
    who = client(market)
    end = who.revoke_signing_key if key_id.startswith("sgk_") else who.revoke_key
    ended = end(key_id)
    if as_json:
        print_json(ended)
    else:
        say(Text(f"{key_id} is revoked", f"{key_id} 已撤销"))


@app.command("new-signing")
@command
@makes("sgk")
def new_signing(
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to keep the private key. 私钥文件。"),
    ] = None,
    platform: Annotated[
        bool, typer.Option(help="Let the market hold it; signatures say so. 由平台托管。")
    ] = False,
    label: Label = "",
    register: Annotated[
        bool, typer.Option(help="Register its public half with the market. 登记公钥。")
    ] = True,
    sm2: Annotated[
        bool, typer.Option("--sm2", help="SM2 in place of Ed25519, for trials. 使用 SM2（试用）。")
    ] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Make a signing key (Ed25519): the private half stays in a file of yours.

    新建签名密钥，私钥只保存在本机。
    """
    from yaosu.client.remote import signing_key_file
    from yaosu.proof import signing

    if platform:
        made = client(market).platform_signing_key(label)
        _told(made, None, as_json)
        return
    who = client(market) if register else None
    place = file or signing_key_file()
    signer = signing.Signer.generate("sm2" if sm2 else "ed25519")
    signer.save(place)
    made = {"key_id": None, "public_key": signer.public_key, "held_by": "own"}
    if who is not None:
        made = who.add_signing_key(signer, label)
    _told(made, place, as_json)


def _told(made: dict[str, object], place: Path | None, as_json: bool) -> None:
    if as_json:
        print_json({**made, "file": str(place) if place else None})
        return
    if place:
        say(Text(f"private key in {place} (keep a copy)", f"私钥保存在 {place}（请备份）"))
    say(f"{made['key_id'] or ''} {made['public_key']}".strip())


@app.command("add-signing")
@command
@makes("sgk")
def add_signing(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Private key file. 私钥文件。")],
    label: Label = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Register the public half of a signing key that you have.

    登记已有签名密钥的公钥。
    """
    who = client(market)
    if not file.exists():
        raise NotFound(
            f"there is no key file {file}: make one with `yaosu keys new-signing`",
            f"没有密钥文件 {file}，请先执行 yaosu keys new-signing",
            path=str(file),
        )
    _told(who.add_signing_key(file, label), file, as_json)
