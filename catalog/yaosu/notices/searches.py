"""Saved searches of a person, and datasets that they watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from yaosu import present
from yaosu.errors import AlreadyExists, Conflict, InvalidInput
from yaosu.identity import absent, can_see
from yaosu.listing import venue_of
from yaosu.model import Actor, Dataset, Listing, new_id
from yaosu.model_notices import SavedSearch, Watch
from yaosu.ports import Reader, SearchQuery, Transaction

MOST_SEARCHES = 50
MOST_WATCHES = 500
MOST_NAME = 100


# --- saved searches ---------------------------------------------------------------------------


def save(tx: Transaction, actor: Actor, name: str, query: SearchQuery) -> SavedSearch:
    """Keep a search of the actor's under a name; its facets and order were checked before."""
    mine = of_person(tx, actor)
    if len(mine) >= MOST_SEARCHES:
        raise Conflict(
            f"a person keeps at most {MOST_SEARCHES} searches",
            f"每人至多保存 {MOST_SEARCHES} 个检索",
        )
    made = SavedSearch(
        id=new_id("ssr"), party_id=actor.party_id, member_id=actor.member_id,
        name=_name(mine, name), text=query.text, filters=_chosen(query), sort=query.sort,
        created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.add(made)
    return made


def _chosen(query: SearchQuery) -> dict[str, tuple[str, ...]]:
    """Return the facets that a person chose: that only listed versions are found goes unsaid."""
    return {f: tuple(values) for f, values in query.filters.items() if f != "state" and values}


def _name(mine: Sequence[SavedSearch], name: str) -> str:
    given = " ".join(name.split())
    if not 1 <= len(given) <= MOST_NAME or not given.isprintable():
        raise InvalidInput(
            f"a name has 1 to {MOST_NAME} characters", f"名称为 1–{MOST_NAME} 个字符", field="name"
        )
    if any(s.name == given for s in mine):
        raise AlreadyExists("you have a search of that name", "您已保存同名检索", field="name")
    return given


def change(
    tx: Transaction,
    actor: Actor,
    search_id: str,
    *,
    name: str | None = None,
    on: bool | None = None,
    query: SearchQuery | None = None,
) -> SavedSearch:
    """Give a search another name, switch its notices on or off, or look for something else."""
    found = load(tx, actor, search_id)
    others = [s for s in of_person(tx, actor) if s.id != found.id]
    changed = replace(
        found,
        name=found.name if name is None else _name(others, name),
        state=found.state if on is None else "on" if on else "off",
        updated_at=tx.now,
    )
    if query is not None:
        changed = replace(changed, text=query.text, filters=_chosen(query), sort=query.sort)
    tx.put(changed)
    return changed


def remove(tx: Transaction, actor: Actor, search_id: str) -> SavedSearch:
    """Forget a search; what it found stays in the inbox."""
    found = load(tx, actor, search_id)
    gone = replace(found, state="removed", name="", text="", filters={}, updated_at=tx.now)
    tx.put(gone)
    return gone


def load(reader: Reader, actor: Actor, search_id: str) -> SavedSearch:
    """Return a saved search of the actor's own; those of others do not exist for them."""
    found = reader.one(SavedSearch, id=search_id)
    if found is None or found.member_id != actor.member_id or found.state == "removed":
        raise absent("search", search_id)
    return found


def of_person(reader: Reader, actor: Actor) -> list[SavedSearch]:
    """Return the actor's searches, the first one first."""
    found: list[SavedSearch] = []
    for state in ("on", "off"):
        found += reader.find(
            SavedSearch, member_id=actor.member_id, state=state, limit=MOST_SEARCHES
        )
    return sorted(found, key=lambda s: s.id)


def query_of(saved: SavedSearch) -> SearchQuery:
    """Return what the index is asked for, with the eyes of the person's organisation."""
    return SearchQuery(
        text=saved.text,
        filters={"state": ["listed"], **saved.filters},
        sort=saved.sort,
        viewer=saved.party_id,
    )


def parameters(saved: SavedSearch) -> list[tuple[str, str]]:
    """Return the search as parameters of the search page and of the API."""
    text = [("q", saved.text)] if saved.text else []
    chosen = [(f, v) for f, values in saved.filters.items() for v in values]
    return [*text, *chosen, ("sort", saved.sort)]


def shown(saved: SavedSearch) -> dict[str, Any]:
    """Return a saved search as its person sees it."""
    hidden = {"id", "party_id", "member_id", "state"}
    facts = {k: v for k, v in present.plain(saved).items() if k not in hidden}
    return {"search_id": saved.id, **facts, "on": saved.state == "on"}


# --- watches ----------------------------------------------------------------------------------


def watch(tx: Transaction, actor: Actor, dataset_id: str, *, on: bool = True) -> Watch:
    """Be told of all that happens to a dataset, or, with `on` false, of nothing."""
    dataset = tx.one(Dataset, id=dataset_id)
    if dataset is None or not _exists_for(tx, actor, dataset):
        raise absent("dataset", dataset_id)
    kept = tx.one(Watch, member_id=actor.member_id, dataset_id=dataset_id)
    state = "on" if on else "off"
    if kept is None:
        if on and tx.count(Watch, member_id=actor.member_id) >= MOST_WATCHES:
            raise Conflict(
                f"a person watches at most {MOST_WATCHES} datasets",
                f"每人至多关注 {MOST_WATCHES} 个数据集",
            )
        kept = Watch(
            id=new_id("wch"), party_id=actor.party_id, member_id=actor.member_id,
            dataset_id=dataset_id, state=state, created_at=tx.now, updated_at=tx.now,
        )  # fmt: skip
        tx.add(kept)
        return kept
    changed = replace(kept, state=state, updated_at=tx.now)
    tx.put(changed)
    return changed


def _exists_for(reader: Reader, actor: Actor, dataset: Dataset) -> bool:
    versions = reader.find(Listing, dataset_id=dataset.id, newest=True, limit=200)
    return any(can_see(actor, v, venue_of(reader, v)) for v in versions)


def watched(reader: Reader, actor: Actor) -> list[tuple[Watch, Dataset]]:
    """Return what the actor watches, or is silent about, newest first."""
    found = reader.find(Watch, member_id=actor.member_id, newest=True, limit=MOST_WATCHES * 2)
    return [(w, reader.get(Dataset, w.dataset_id)) for w in found]


def watch_shown(kept: Watch, dataset: Dataset) -> dict[str, Any]:
    """Return a watch with the name of what is watched."""
    return {
        "dataset_id": dataset.id,
        "publisher": dataset.publisher,
        "name": dataset.name,
        "on": kept.state == "on",
        "created_at": present.plain(kept.created_at),
    }
