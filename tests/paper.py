"""A browser without scripts: pages, links and forms over plain HTTP, as the HTML says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx2

VOID = frozenset({"input", "meta", "link", "br", "hr", "img"})


@dataclass
class Form:
    """One form of a page: where it goes, and what it would send as it stands."""

    action: str
    method: str = "get"
    enctype: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class Page(HTMLParser):
    """What a person without scripts has of a page: words, links, forms."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.response = response
        self.status = response.status_code
        self.url = response.url
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.next: str | None = None
        self.assets: list[str] = []
        self.words = ""
        self._form: Form | None = None
        self._area: str | None = None
        self._select: str | None = None
        self._skip = 0
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {k: v or "" for k, v in attrs}
        if tag == "form":
            self._form = Form(
                a.get("action") or str(self.url), a.get("method", "get"), a.get("enctype", "")
            )
            if "hidden" not in a:
                self.forms.append(self._form)
        elif tag == "a" and "href" in a:
            self.links.append(a["href"])
            if a.get("rel") == "next":
                self.next = a["href"]
        elif tag in ("script", "style"):
            self._skip += 1
        if tag == "script" and "src" in a:
            self.assets.append(a["src"])
        if tag == "link" and "href" in a and a.get("rel") in ("stylesheet", "icon"):
            self.assets.append(a["href"])
        if tag == "img":
            self.assets.append(a.get("src", ""))
        if self._form is not None:
            self._control(tag, a)

    def _control(self, tag: str, a: dict[str, str]) -> None:
        assert self._form is not None
        name = a.get("name", "")
        if name:
            self._form.names.add(name)
        if tag == "input" and name:
            kind = a.get("type", "text")
            if kind in ("checkbox", "radio"):
                if "checked" in a:
                    self._form.fields.append((name, a.get("value", "on")))
            elif kind != "file":
                self._form.fields.append((name, a.get("value", "")))
        elif tag == "button" and name:
            self._form.buttons.append((name, a.get("value", "")))
        elif tag == "textarea":
            self._area = name
            self._form.fields.append((name, ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in a:
            self._form.fields.append((self._select, a.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None
        elif tag in ("script", "style"):
            self._skip -= 1

    def handle_data(self, data: str) -> None:
        if self._skip:
            return
        if self._area is not None and self._form is not None:
            name, before = self._form.fields[-1]
            # HTML: one line break right after <textarea> is not part of its value.
            text = data if before else data.removeprefix("\n")
            self._form.fields[-1] = (name, before + text)
        self.words += data + " "

    def form(self, action: str) -> Form:
        """Return the form whose address ends so."""
        found = [f for f in self.forms if f.action.split("?")[0].endswith(action)]
        assert found, f"no form to {action}; there are {[f.action for f in self.forms]}"
        return found[0]

    def has_form(self, action: str) -> bool:
        return any(f.action.split("?")[0].endswith(action) for f in self.forms)

    def says(self, text: str) -> bool:
        return text in re.sub(r"\s+", " ", self.words)


class Paper:
    """A person with cookies and patience, without scripts."""

    def __init__(self, address: str, lang: str = "zh") -> None:
        self.http = httpx2.Client(
            base_url=address, follow_redirects=True, headers={"accept-language": lang}, timeout=60
        )

    def get(self, path: str, **more: Any) -> Page:
        return Page(self.http.get(path, **more))

    def send(self, page: Page, action: str, *, button: str = "", **given: Any) -> Page:
        """Fill a form in and send it; a name that the form does not have is an error."""
        form = page.form(action)
        assert set(given) <= form.names, (set(given) - form.names, form.names)
        fields = [(k, v) for k, v in form.fields if k not in given]
        for name, value in given.items():
            fields += [(name, v) for v in (value if isinstance(value, list) else [value])]
        fields += [b for b in form.buttons if b[0] == button]
        data: dict[str, list[str]] = {}
        for name, value in fields:
            data.setdefault(name, []).append(value)
        return Page(self.http.request(form.method.upper(), form.action, data=data))

    def send_file(
        self, page: Page, action: str, filename: str, content: bytes, **given: str
    ) -> Page:
        form = page.form(action)
        assert form.enctype == "multipart/form-data"
        assert set(given) <= form.names
        fields = {**dict(form.fields), **given}
        fields.pop("file", None)
        return Page(self.http.post(form.action, data=fields, files={"file": (filename, content)}))

    def log_in(self, key: str, back: str = "/") -> Page:
        page = self.get("/login", params={"next": back})
        return self.send(page, "/login", key=key)
