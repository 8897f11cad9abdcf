"""OAI-PMH 2.0: the words of the protocol, oai_dc of a version, and tokens without a memory."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

from . import dcat, rdf
from .published import Mapped, Published, utc

FIELDS = (
    Mapped("name", "`dc:identifier`: the end of its address"),
    Mapped("title, dataElement.titles.en", "`dc:title`"),
    Mapped("description", "`dc:description`"),
    Mapped("keywords", "`dc:subject`"),
    Mapped("created", "`dc:date`"),
    Mapped("homepage", "`dc:relation`"),
    Mapped("contributors", "`dc:creator`, `dc:publisher`, `dc:contributor`",
           "title and one role each, makers first", "changed"),
    Mapped("dataElement.languages", "`dc:language`"),
    Mapped("dataElement.license_spdx", "`dc:rights`"),
    Mapped("licenses", "`dc:rights`", "name, address or title", "changed"),
    Mapped("sources", "`dc:source`", "address or title", "changed"),
    Mapped("resources[].mediatype", "`dc:format`", "a list of formats, without files", "changed"),
    Mapped("dataElement.coverage.temporal, spatial_codes", "`dc:coverage`"),
    Mapped("*", "", "all that is not named here: ask for `dcat`", "lost"),
)  # fmt: skip
PREFIXES = {
    "oai_dc": (
        "http://www.openarchives.org/OAI/2.0/oai_dc.xsd",
        "http://www.openarchives.org/OAI/2.0/oai_dc/",
    ),
    "dcat": ("https://www.w3.org/ns/dcat.rdf", "http://www.w3.org/ns/dcat#"),
}
VERBS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    # verb: arguments that it needs, and those that it may have besides
    "Identify": (frozenset(), frozenset()),
    "ListMetadataFormats": (frozenset(), frozenset({"identifier"})),
    "ListSets": (frozenset(), frozenset({"resumptionToken"})),
    "GetRecord": (frozenset({"identifier", "metadataPrefix"}), frozenset()),
    "ListIdentifiers": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set"})),
    "ListRecords": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set"})),
}
FORMATS_KEPT = "dc:formats"
"""Formats that a foreign record names, for which there is no file."""
DIVISION = "urn:gb2260:"
MEDIA = "text/xml; charset=utf-8"
_SECONDS = "%Y-%m-%dT%H:%M:%SZ"
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class OaiError(Exception):
    """An error condition of the protocol (§3.6)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list stands: what was asked, the part under way, and the last id sent."""

    prefix: str
    set: str = ""
    since: str = ""
    until: str = ""
    gone: bool = False  # records that are deleted come after those that are there
    last: str = ""
    sent: int = 0

    def token(self) -> str:
        body = json.dumps(astuple(self), separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(body).decode().rstrip("=")

    @classmethod
    def read(cls, token: str) -> Cursor:
        """Return the cursor of a token; OaiError when it is not one of ours."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            found = cls(*json.loads(raw))
            kinds = [(str,) * 4, (bool, str, int)]
            values = astuple(found)
            fine = all(type(v) is k for v, k in zip(values, sum(kinds, ()), strict=True))
            if not fine or found.prefix not in PREFIXES or found.token() != token:
                raise ValueError("form")
            moments(found.since, found.until)
            return found
        except (ValueError, TypeError, OaiError):
            raise OaiError("badResumptionToken", "the token is not one of this list") from None


def moments(since: str, until: str) -> tuple[datetime | None, datetime | None]:
    """Return both ends, inclusive, in UTC; OaiError where a form is wrong or they cross."""
    if since and until and ("T" in since) != ("T" in until):
        raise OaiError("badArgument", "from and until have different granularities")
    start, end = _moment(since), _moment(until)
    if end is not None and "T" not in until:
        end += timedelta(days=1) - timedelta(seconds=1)
    if start is not None and end is not None and start > end:
        raise OaiError("badArgument", "from lies after until")
    return start, end


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    form = _SECONDS if "T" in text else "%Y-%m-%d"
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        raise OaiError("badArgument", "a time is YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ") from None


def stamp(at: datetime) -> str:
    return utc(at).strftime(_SECONDS)


def text(value: object) -> str:
    return escape(_NOT_XML.sub("\ufffd", str(value)))


def arguments(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the arguments of a request, judged against its verb."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise OaiError("badArgument", "an argument is repeated")
        found[name] = value
    verb = found.get("verb", "")
    if verb not in VERBS:
        raise OaiError("badVerb", "the verb is missing or illegal")
    needed, more = VERBS[verb]
    given = set(found) - {"verb"}
    if "resumptionToken" in given and verb.startswith("List"):
        if given != {"resumptionToken"}:
            raise OaiError("badArgument", "resumptionToken is an exclusive argument")
        return found
    if needed - given or given - needed - more:
        raise OaiError("badArgument", "arguments are missing or illegal")
    if found.get("metadataPrefix", "oai_dc") not in PREFIXES:
        raise OaiError("cannotDisseminateFormat", "this format is not served")
    return found


# --- answers -----------------------------------------------------------------------------------


def envelope(base: str, now: datetime, asked: Mapping[str, str], body: str) -> str:
    """Return a whole answer; attributes of the request are left out where it was wrong."""
    given = "".join(f" {k}={quoteattr(_NOT_XML.sub('', v))}" for k, v in asked.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://www.openarchives.org/OAI/2.0/'
        ' http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd">'
        f"<responseDate>{stamp(now)}</responseDate>"
        f"<request{given}>{text(base)}</request>{body}</OAI-PMH>\n"
    )


def error(why: OaiError) -> str:
    return f'<error code="{why.code}">{text(why)}</error>'


def identify(base: str, name: str, email: str, earliest: datetime) -> str:
    return (
        f"<Identify><repositoryName>{text(name)}</repositoryName><baseURL>{text(base)}</baseURL>"
        f"<protocolVersion>2.0</protocolVersion><adminEmail>{text(email)}</adminEmail>"
        f"<earliestDatestamp>{stamp(earliest)}</earliestDatestamp>"
        "<deletedRecord>persistent</deletedRecord>"
        "<granularity>YYYY-MM-DDThh:mm:ssZ</granularity></Identify>"
    )


def formats() -> str:
    parts = "".join(
        f"<metadataFormat><metadataPrefix>{name}</metadataPrefix><schema>{schema}</schema>"
        f"<metadataNamespace>{space}</metadataNamespace></metadataFormat>"
        for name, (schema, space) in PREFIXES.items()
    )
    return f"<ListMetadataFormats>{parts}</ListMetadataFormats>"


def sets(named: Iterable[tuple[str, str]]) -> str:
    parts = "".join(
        f"<set><setSpec>{text(spec)}</setSpec><setName>{text(name)}</setName></set>"
        for spec, name in named
    )
    return f"<ListSets>{parts}</ListSets>"


def identifier(host: str, version: Published) -> str:
    return f"oai:{host}:{version.uuid}"


def header(host: str, version: Published, *, deleted: bool = False) -> str:
    status = ' status="deleted"' if deleted else ""
    return (
        f"<header{status}><identifier>{text(identifier(host, version))}</identifier>"
        f"<datestamp>{stamp(version.updated_at)}</datestamp>"
        f"<setSpec>{text(version.publisher)}</setSpec></header>"
    )


def record(host: str, version: Published, prefix: str, *, deleted: bool = False) -> str:
    """Return a record; one that is deleted has a header alone."""
    head = header(host, version, deleted=deleted)
    if deleted:
        return f"<record>{head}</record>"
    body = dublin_core(version) if prefix == "oai_dc" else _rdf(version)
    return f"<record>{head}<metadata>{body}</metadata></record>"


def _rdf(version: Published) -> str:
    whole = "".join(rdf.write(dcat.dataset(version), "rdf"))
    return whole.partition("?>")[2].strip()


def dublin_core(version: Published) -> str:
    """Return the fifteen elements as oai_dc."""
    parts = "".join(f"<dc:{k}>{text(v)}</dc:{k}>" for k, v in _elements(version) if v)
    return (
        '<oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://www.openarchives.org/OAI/2.0/oai_dc/'
        f' http://www.openarchives.org/OAI/2.0/oai_dc.xsd">{parts}</oai_dc:dc>'
    )


def _elements(version: Published) -> Iterable[tuple[str, str]]:
    """Yield the elements and their values, each pair once."""
    return dict.fromkeys((name, value) for name, value in _said(version) if value)


def _said(version: Published) -> Iterable[tuple[str, str]]:
    said, element = version.descriptor, version.element
    yield "title", str(said.get("title") or version.name)
    titles = element.get("titles")
    yield "title", str(titles.get("en") or "") if isinstance(titles, dict) else ""
    people = [c for c in said.get("contributors") or () if isinstance(c, dict)]
    yield from _named(people, "creator")
    for word in said.get("keywords") or ():
        yield "subject", str(word)
    yield "description", str(said.get("description") or "")
    yield "publisher", version.publisher_name
    yield from _named(people, "publisher")
    yield from _named(people, "contributor")
    yield "date", str(said.get("created") or "")
    yield "date", stamp(version.listed_at or version.created_at)
    yield "type", "Dataset"
    for kind in sorted({str(r["mediatype"]) for r in version.resources if r.get("mediatype")}):
        yield "format", kind
    for kind in said.get(FORMATS_KEPT) or ():
        yield "format", str(kind)
    yield "identifier", version.page
    if said.get("homepage") != version.page:
        yield "relation", str(said.get("homepage") or "")
    for source in said.get("sources") or ():
        if isinstance(source, dict):
            yield "source", str(source.get("path") or source.get("title") or "")
    for language in element.get("languages") or ():
        yield "language", str(language)
    coverage = element.get("coverage") or {}
    span = coverage.get("temporal") or {}
    if span:
        yield "coverage", f"{span.get('start', '..')}/{span.get('end', '..')}"
    for code in coverage.get("spatial_codes") or ():
        yield "coverage", f"{DIVISION}{code}"
    yield "rights", str(element.get("license_spdx") or "")
    for licence in said.get("licenses") or ():
        if isinstance(licence, dict):
            yield "rights", str(licence.get("name") or licence.get("path") or licence.get("title"))


def _named(people: Iterable[Mapping[str, object]], element: str) -> Iterable[tuple[str, str]]:
    """Yield those whose role is told by an element: publishers, makers, and all others."""
    for who in people:
        roles = who.get("roles")
        roles = {str(r) for r in roles} if isinstance(roles, list) else {str(who.get("role") or "")}
        kind = "publisher" if roles == {"publisher"} else "contributor"
        if roles & {"creator", "author", ""} or not roles:
            kind = "creator"
        if kind == element:
            yield element, str(who.get("title") or "")


def resumption(cursor: Cursor | None, *, paged: bool) -> str:
    """Return the element that goes on, or the empty one that ends a list of several pages."""
    if cursor is not None:
        return f'<resumptionToken cursor="{cursor.sent}">{cursor.token()}</resumptionToken>'
    return "<resumptionToken/>" if paged else ""
