"""How others say it: catalogs and records of other people, in and out.

connector       capabilities, the report of a run, the registry
folder          a catalog as a folder of Data Packages
records         bilingual catalog records, as drafts without files
trading_record  the neutral trading record
"""

from __future__ import annotations

from .connector import (
    About,
    Change,
    Changes,
    Delivered,
    Delivers,
    Describes,
    Gone,
    Harvests,
    Pages,
    Publishes,
    Record,
    Report,
    Skipped,
    capabilities,
    compare,
    load,
    names,
)
from .remote import NTH, After, Asked, Reply, Watch

__all__ = [
    "NTH",
    "After",
    "Asked",
    "Pages",
    "Reply",
    "Watch",
    "About",
    "Change",
    "Changes",
    "Delivered",
    "Delivers",
    "Describes",
    "Gone",
    "Harvests",
    "Publishes",
    "Record",
    "Report",
    "Skipped",
    "capabilities",
    "compare",
    "load",
    "names",
]
