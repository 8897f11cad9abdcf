"""Results kept by content: an unchanged file under unchanged rules is not judged again.

The key names everything a verdict depends on: the bytes, the schema and dialect, the limit, and
the version of every check. Raising a version makes new keys, so that the check runs again.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from .check import registered
from .checks.structure import VERSION
from .judge import Outcome
from .parts import Planned
from .resources import Resource
from .streams import CHUNK, SourceProblem, open_file


class Results(Protocol):
    """Keeps outcomes; both methods may do nothing."""

    def get(self, planned: Planned) -> Outcome | None: ...
    def put(self, planned: Planned, outcome: Outcome) -> None: ...


class FolderResults:
    """Outcomes as files of one folder that only its owner writes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def get(self, planned: Planned) -> Outcome | None:
        name = result_key(planned)
        try:
            outcome = pickle.loads((self.folder / name).read_bytes()) if name else None
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError):
            return None
        if isinstance(outcome, Outcome):
            # The same bytes may lie elsewhere today, under another name.
            return replace(outcome, resource=planned.resource, seconds=0.0)
        return None

    def put(self, planned: Planned, outcome: Outcome) -> None:
        name = result_key(planned)
        if name is None or outcome.digests is None or outcome.end:
            return
        for pairs in outcome.state.pairs if outcome.state is not None else ():
            if pairs.index is not None or pairs.lost is not None:
                return  # keys that do not fit into memory are not kept
            pairs.flush()
        try:
            kept = pickle.dumps(outcome, protocol=5)
        except (TypeError, pickle.PicklingError):
            return  # a state that lies on disk
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.write(kept)
        os.replace(file.name, self.folder / name)


def result_key(planned: Planned) -> str | None:
    """Return the name of a verdict, or None for what has no bytes of its own."""
    resource = planned.resource
    if len(resource.paths) != 1:
        return None
    content = hashlib.sha256()
    try:
        with open_file(resource.root, resource.paths[0]) as file:
            while chunk := file.read(CHUNK):
                content.update(chunk)
    except SourceProblem:
        return None
    rules = _rules(resource)
    if planned.limits.folds:  # conclusions name the resource, and its path may name its split
        rules += repr((resource.name, resource.paths))
    versions = [("structure", VERSION)]
    versions += [(name, registered(name).version) for name in planned.limits.checks]
    versions += [(c.name, c.version + repr(c.method())) for c in planned.limits.folds]
    text = repr((content.hexdigest(), rules, planned.limits, versions))
    return hashlib.sha256(text.encode()).hexdigest()


def _rules(resource: Resource) -> str:
    """Return all that a descriptor says about a resource, but not where it lies."""
    return repr(replace(resource, root=Path(), name="", hash=None, bytes=None, rows=None))
