"""What was bought as a PyTorch `IterableDataset`; importing it needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from .streams import Samples, Stream


class Rows(IterableDataset):  # type: ignore[misc]
    """Rows (or samples) as dicts; every worker of every process reads a shard of its own.

    `shard` is (rank, processes); torch.distributed is asked where it is not given. State is that
    of one worker, as torchdata's `StatefulDataLoader` keeps it.
    """

    def __init__(self, stream: Stream | Samples, shard: tuple[int, int] | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._shard = shard or _rank()
        self._ours: tuple[tuple[int, int], Stream | Samples] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        ours = self._shard_of_worker()
        yield from ours.rows() if isinstance(ours, Stream) else ours

    def state_dict(self) -> dict[str, Any]:
        """Return where this worker stands."""
        return self._shard_of_worker().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where this worker stood."""
        self._shard_of_worker().load_state_dict(state)

    def _shard_of_worker(self) -> Stream | Samples:
        rank, processes = self._shard
        worker = get_worker_info()
        index, count = (worker.id, worker.num_workers) if worker else (0, 1)
        key = rank * count + index, processes * count
        if self._ours is None or self._ours[0] != key:
            self._ours = key, self._stream.shard(*key)
        return self._ours[1]


def _rank() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
