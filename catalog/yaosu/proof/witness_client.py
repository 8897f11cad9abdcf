"""The log's side of C2SP tlog-witness: asks witnesses to cosign each new checkpoint."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from yaosu.errors import InvalidInput

from . import checkpoint as notes
from .witness import WitnessKey, cosigned_at, holding, read_key

_log = logging.getLogger("yaosu.witness")
TIMEOUT_S = 5.0
MAX_REPLY = 1 << 16
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Witnessed(Protocol):
    """What the client needs of a log."""

    def waits_for_witnesses(self) -> bytes | None: ...
    def keep_cosignatures(self, signed: bytes, lines: Sequence[str]) -> int: ...
    def consistency(self, old: int, new: int | None = None) -> dict[str, Any]: ...


@dataclass(slots=True)
class WitnessPlace:
    """One witness: where it answers, its key, and how much of the log it has seen."""

    url: str
    key: WitnessKey
    size: int = 0
    wrong: str = field(default="", compare=False)


def read_places(text: str) -> list[WitnessPlace]:
    """Return the witnesses of a setting: `URL KEY`, several behind commas."""
    places = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        url, _, key = item.partition(" ")
        if not url.startswith(("https://", "http://")) or not key:
            raise InvalidInput(
                "a witness is set as its address, a blank and its key; several behind commas",
                "见证方设置格式为“地址 空格 密钥”，多个以逗号分隔",
                field="witnesses",
            )
        places.append(WitnessPlace(url.rstrip("/"), read_key(key)))
    return places


def request(old: int, proof: Sequence[str], signed: bytes) -> bytes:
    """Return the body of an add-checkpoint call; `proof` as hex hashes."""
    lines = [f"old {old}", *(base64.b64encode(bytes.fromhex(h)).decode() for h in proof), ""]
    return "\n".join(lines).encode() + b"\n" + signed


class Witnesses:
    """Asks all witnesses of a log, at once and each within a few seconds."""

    def __init__(self, log: Witnessed, places: Sequence[WitnessPlace]) -> None:
        self._log = log
        self.places = list(places)
        self._http: Any = None
        self._pool = ThreadPoolExecutor(max(1, len(self.places)), thread_name_prefix="witness")

    def ask(self) -> int | None:
        """Have the latest checkpoint cosigned; return by how many, None if nothing waits."""
        signed = self._log.waits_for_witnesses() if self.places else None
        if signed is None:
            return None
        note = notes.read(signed)
        missing = [p for p in self.places if not cosigned_at(note, p.key)]
        lines = [
            line
            for found in self._pool.map(lambda p: self._asked(p, note, signed), missing)
            for line in found
        ]
        return self._log.keep_cosignatures(signed, lines) if lines else 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._http is not None:
            self._http.close()

    def _asked(self, place: WitnessPlace, note: notes.Note, signed: bytes) -> list[str]:
        try:
            found = self._ask_once(place, note, signed, again=True)
            place.wrong = "" if found else place.wrong or "no cosignature"
            return found
        except Exception as error:  # a witness never stops the log
            self._say(place, f"{type(error).__name__}: {error}"[:200])
            return []

    def _ask_once(
        self, place: WitnessPlace, note: notes.Note, signed: bytes, *, again: bool
    ) -> list[str]:
        new = note.checkpoint.size
        old = min(place.size, new)
        proof = self._log.consistency(old, new)["hashes"]
        status, body = self._post(f"{place.url}/add-checkpoint", request(old, proof, signed))
        if status == 200:
            found = holding(signed, body.decode("utf-8", "replace"), place.key)
            if found:
                place.size = new
            return found
        known = _SIZE.fullmatch(body) if status == 409 else None
        if known is not None:
            place.size = int(known[1])
            if place.size <= new and again and place.size != old:
                return self._ask_once(place, note, signed, again=False)
            if place.size > new:
                return []  # it has seen a later one meanwhile: that one is asked for next
        if status in (409, 422):
            _log.critical("the witness %s refuses this log: it saw another", place.key.name)
        self._say(place, f"answers {status}")
        return []

    def _say(self, place: WitnessPlace, wrong: str) -> None:
        if place.wrong != wrong:
            _log.warning("the witness %s did not cosign: %s", place.key.name, wrong)
        place.wrong = wrong

    def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        import httpx2

        if self._http is None:
            self._http = httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)
        with self._http.stream("POST", url, content=body) as answer:
            found = b""
            for chunk in answer.iter_bytes():
                found += chunk
                if len(found) > MAX_REPLY:
                    raise ValueError("the answer is too long")
            return answer.status_code, found
