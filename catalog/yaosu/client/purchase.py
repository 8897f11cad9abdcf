"""What was bought, on the buyer's own disk: fetched, checked, opened.

<folder>/<paths of the package>   the data, byte for byte as sold
<folder>/datapackage.json         its descriptor
<folder>/manifest.json            what was delivered: paths, sizes, digests
<folder>/receipt.json             the proof of the trade, once it is issued
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yaosu.errors import Conflict, Forbidden, Gone, NotFound, UnsafePath, Unverified
from yaosu_schemas.canonical import content_digest, digest, jcs
from yaosu_schemas.paths import collisions, safe_path

from .connection import Connection, route
from .transfer import Download, Progress, hash_file, silent

if TYPE_CHECKING:
    from .dataframes import Tables
    from .ranges import RemoteFile
    from .streams import Filter, Samples, Stream

JSON = dict[str, Any]
OURS = frozenset({"datapackage.json", "manifest.json", "receipt.json", "quality.json"})
_STAMPS = ".fetched.json"


class Purchase:
    """The files of one trade; nothing is fetched before it is asked for."""

    def __init__(
        self,
        connection: Connection,
        trade: JSON,
        manifest: JSON,
        folder: Path,
        progress: Progress | None = None,
    ) -> None:
        self._connection = connection
        self.trade = trade
        self.manifest = manifest
        self.folder = folder
        self._progress = progress or silent
        self._descriptor: JSON | None = None

    def __repr__(self) -> str:
        return f"<Purchase {self.trade['trade_id']} in {self.folder}>"

    @property
    def paths(self) -> list[str]:
        """The paths of the files, as the package names them."""
        return [str(entry["path"]) for entry in self.manifest["files"]]

    @property
    def size_bytes(self) -> int:
        """What all files take together."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"])

    @property
    def descriptor(self) -> JSON:
        """The Data Package of the version that was bought, checked against the trade's digest."""
        if self._descriptor is None:
            path = route("v1", "listings", str(self.trade["listing_id"]), "descriptor")
            found = dict(self._connection.get(path))
            if content_digest(found) != self.trade["content_digest"]:
                raise Unverified(
                    "the descriptor is not that of the version that was bought",
                    "描述文件与所购版本不符",
                    content_digest=self.trade["content_digest"],
                )
            self._descriptor = found
        return self._descriptor

    # --- files ----------------------------------------------------------------------------------

    def files(self) -> list[Path]:
        """Return all files, fetching what is not here yet; manifest and receipt beside them."""
        found = [self.file(path) for path in self.paths]
        self._write_documents()
        return found

    def file(self, path: str) -> Path:
        """Return one file of the package, fetching it when it is not here yet."""
        entry = next((e for e in self.manifest["files"] if e["path"] == path), None)
        if entry is None:
            raise NotFound(
                f"the delivery has no file '{path[:200]}'; it has: {', '.join(self.paths[:20])}",
                f"交付中没有文件“{path[:200]}”",
                path=path,
            )
        self._own_folder()
        target = self._place(path)
        sha256, size = str(entry["sha256"]), int(entry["bytes"])
        if self._is_here(path, target, sha256, size):
            return target
        Download(
            self._connection,
            target,
            name=path,
            sha256=sha256,
            size=size,
            link=lambda renew: self._link(path, renew),
            progress=self._progress,
        ).run()
        self._stamp(path, target, sha256)
        return target

    def _own_folder(self) -> None:
        """Refuse a folder that is somebody's own package, or the delivery of another trade."""
        manifest = _json_of(self.documents / "manifest.json")
        if manifest.get("trade_id") == self.trade["trade_id"]:
            return
        begun = bool(self._stamps()) or not (self.folder / "datapackage.json").exists()
        if begun and "trade_id" not in manifest:
            return
        raise Conflict(
            f"{self.folder} holds another data package: choose a new folder",
            f"{self.folder} 中已有其他数据包，请选择新目录",
            folder=str(self.folder),
        )

    def _place(self, path: str) -> Path:
        """Return where a file goes, inside the folder whatever stands there already."""
        root = self.folder.resolve()
        root.mkdir(parents=True, exist_ok=True)
        place = root
        *folders, name = safe_path(path).split("/")
        for part in folders:
            place = place / part
            place.mkdir(exist_ok=True)
            if place.is_symlink():
                raise _leads_out(path)
        if (place / name).is_symlink():
            raise _leads_out(path)
        return place / name

    def _link(self, path: str, renew: bool) -> str:
        if renew:
            place = route("v1", "deliveries", str(self.manifest["delivery_id"]))
            self.manifest = checked_manifest(self._connection.get(place), self.trade)
        entry = next(e for e in self.manifest["files"] if e["path"] == path)
        if not entry.get("url"):
            raise Forbidden(
                f"the delivery is '{self.manifest.get('state')}': its files cannot be fetched",
                f"交付状态为“{self.manifest.get('state')}”，无法下载文件",
                state=self.manifest.get("state"),
            )
        return str(entry["url"])

    def _is_here(self, path: str, target: Path, sha256: str, size: int) -> bool:
        """Say whether the file is here and right; it is read again only if it was touched."""
        if not target.is_file() or target.stat().st_size != size:
            return False
        if self._stamps().get(path) == [sha256, size, target.stat().st_mtime_ns]:
            return True
        if hash_file(target, progress=self._progress, name=path) != (sha256, size):
            return False
        self._stamp(path, target, sha256)
        return True

    def _stamps(self) -> JSON:
        return _json_of(self.folder / _STAMPS)

    def _stamp(self, path: str, target: Path, sha256: str) -> None:
        known = target.stat()
        stamps = {**self._stamps(), path: [sha256, known.st_size, known.st_mtime_ns]}
        _write(self.folder / _STAMPS, stamps)

    # --- documents ------------------------------------------------------------------------------

    @property
    def documents(self) -> Path:
        """Where manifest, descriptor and receipt lie: beside the data."""
        taken = {path.casefold() for path in self.paths} & OURS
        return self.folder / ".yaosu" if taken else self.folder

    def _write_documents(self) -> None:
        files = [
            {k: entry[k] for k in ("path", "bytes", "sha256")} for entry in self.manifest["files"]
        ]
        kept = {k: v for k, v in self.manifest.items() if k != "files"}
        kept |= {"content_digest": self.trade["content_digest"], "files": files}
        _write(self.documents / "manifest.json", kept)
        # No longer shown by the market: the agreement in the receipt still pins its digest.
        with contextlib.suppress(NotFound, Gone):
            _write(self.documents / "datapackage.json", self.descriptor)
            _write(self.documents / "quality.json", self._attestation())
        self.receipt()

    def _attestation(self) -> JSON:
        path = route("v1", "listings", str(self.trade["listing_id"]), "attestation")
        return dict(self._connection.get(path))

    def receipt(self, timeout: float = 0.0) -> JSON | None:
        """Return the receipt and keep it beside the data; None while it is not issued yet."""
        path = route("v1", "trades", str(self.trade["trade_id"]), "receipt")
        end = time.monotonic() + timeout
        while True:
            try:
                found = dict(self._connection.get(path))
                break
            except Conflict:
                if time.monotonic() >= end:
                    return None
                time.sleep(0.2)
        _place(self.documents / "receipt.json", jcs(found))  # as issued: every byte counts
        return found

    # --- as tables ------------------------------------------------------------------------------

    def _tables(self) -> Tables:
        from .dataframes import Tables

        return Tables(self)

    def dataset(self, resource: str | None = None) -> Any:
        """Return a `pyarrow.dataset.Dataset` over one resource (by name or path), or over all."""
        return self._tables().dataset(resource)

    def table(
        self,
        resource: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,
        checked: bool = False,
    ) -> Any:
        """Return a `pyarrow.Table`; of Parquet, only the columns and row groups asked for come.

        `filter` holds terms (column, operator, value). Parts of a file come by ranges, which no
        digest covers: `checked=True` fetches the whole file first and compares it.
        """
        return self._tables().table(resource, columns, filter, checked)

    def to_pandas(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a pandas DataFrame, where pandas is installed; `chosen` as for `table`."""
        return self._tables().to_pandas(resource, **chosen)

    def to_polars(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a polars DataFrame, where polars is installed; `chosen` as for `table`."""
        return self._tables().to_polars(resource, **chosen)

    def to_hf(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a Hugging Face `datasets.Dataset`, where datasets is installed."""
        return self._tables().to_hf(resource, **chosen)

    # --- as streams -----------------------------------------------------------------------------

    def stream(
        self,
        resource: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,
        batch_rows: int = 1024,
        checked: bool = False,
    ) -> Stream:
        """Return record batches as they come, in shards if wanted, resumed by `state_dict`."""
        from .streams import Stream

        more = {"batch_rows": batch_rows, "checked": checked}
        return Stream(self, self._tables().wanted(resource, columns, filter, **more))

    def samples(self, resource: str | None = None) -> Samples:
        """Return the samples of WebDataset shards (tar) as dicts of bytes; no library needed."""
        from .streams import Samples

        return Samples(self, self._tables().shards(resource))

    def to_torch(
        self,
        resource: str | None = None,
        *,
        shard: tuple[int, int] | None = None,
        **chosen: Any,
    ) -> Any:
        """Return a PyTorch `IterableDataset` of rows, or of samples where the resource is tars.

        Every worker of every process reads a shard of its own; `shard` is (rank, processes), by
        default as torch.distributed says.
        """
        from .dataframes import load

        load("torch", "torch")
        rows = load("yaosu.client.torch_data", "torch")
        tables = self._tables()
        stream = self.samples(resource) if tables.is_tar(resource) else None
        return rows.Rows(stream or self.stream(resource, **chosen), shard)

    def to_webdataset(self, resource: str | None = None, **options: Any) -> Any:
        """Return a `webdataset.WebDataset` over the fetched shards, where it is installed."""
        from .dataframes import load

        library = load("webdataset", "webdataset")
        shards = [str(self.file(path)) for path in self._tables().shards(resource)]
        return library.WebDataset(shards, **{"shardshuffle": False, **options})

    def has(self, path: str) -> bool:
        """Say whether a file is here already, whole and with the digest that was sold."""
        entry = next((e for e in self.manifest["files"] if e["path"] == path), None)
        if entry is None or not self.folder.is_dir():
            return False
        target = self.folder / safe_path(path)
        return self._is_here(path, target, str(entry["sha256"]), int(entry["bytes"]))

    def remote(self, path: str) -> RemoteFile:
        """Return a file as it lies at the market, to be read by ranges; no digest covers those."""
        from .ranges import RemoteFile

        entry = next(e for e in self.manifest["files"] if e["path"] == path)
        return RemoteFile(
            self._connection,
            lambda renew: self._link(path, renew),
            name=path,
            size=int(entry["bytes"]),
        )

    def __getstate__(self) -> JSON:
        """Return what a worker process needs; progress is shown by the first process alone."""
        return {**self.__dict__, "_progress": silent}


def checked_manifest(manifest: Mapping[str, Any], trade: Mapping[str, Any]) -> JSON:
    """Return the manifest if it is the one that the trade's digest names, with safe paths."""
    files = [
        {"path": str(f["path"]), "bytes": int(f["bytes"]), "sha256": str(f["sha256"])}
        for f in manifest["files"]
    ]
    # A period may deliver a later version than the one that was sold; it names which.
    later = manifest.get("content_digest") if (trade.get("terms") or {}).get("period") else None
    content = later or trade["content_digest"]
    pinned = digest({"trade_id": trade["trade_id"], "content_digest": content, "files": files})
    if pinned != manifest["manifest_digest"] or manifest["trade_id"] != trade["trade_id"]:
        raise Unverified(
            "the manifest is not what its digest says: do not accept the delivery",
            "交付清单与其摘要不符，请勿验收",
            manifest_digest=manifest["manifest_digest"],
        )
    paths = [safe_path(str(f["path"])) for f in files]
    for first, second in collisions(paths):
        raise UnsafePath(
            f"'{first}' and '{second}' would be one file on some disks",
            f"“{first}”与“{second}”在部分系统上会是同一文件",
            path=second,
        )
    return dict(manifest)


def cache_folder(market: str, trade_id: str) -> Path:
    """Return where a purchase is kept unless told otherwise."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = urlsplit(market).netloc.replace(":", "_")
    return Path(home) / "yaosu" / place / trade_id


def _leads_out(path: str) -> UnsafePath:
    return UnsafePath(
        f"a symbolic link stands where '{path}' goes: fetch into an empty folder",
        f"“{path}”的目标位置是符号链接，请换用空目录",
        path=path,
    )


def _json_of(path: Path) -> JSON:
    """Return the object in a file; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: Any) -> None:
    """Write a JSON document whole or not at all."""
    _place(path, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())


def _place(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
