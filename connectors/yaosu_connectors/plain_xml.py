"""XML of strangers: no document types, no entities, a bounded number of elements."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from yaosu_schemas.errors import Malformed, TooLarge

MAX_ELEMENTS = 300_000
MAX_DEPTH = 100
_CHUNK = 1 << 16


def parse(body: bytes) -> Element:
    """Return the root element; Malformed for what is no XML, TooLarge for what does not end."""
    text = body.decode("utf-8-sig", "replace")  # an encoding that it names changes nothing
    if re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise Malformed("document types and entities are refused", "不接受 DTD 与实体")
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
    parser: Any = XMLPullParser(("start", "end"))
    root: Element | None = None
    count = depth = 0
    try:
        for at in range(0, len(text), _CHUNK):
            parser.feed(text[at : at + _CHUNK])
            for event, element in parser.read_events():
                if event == "end":
                    depth -= 1
                    continue
                root = element if root is None else root
                count, depth = count + 1, depth + 1
                if count > MAX_ELEMENTS or depth > MAX_DEPTH:
                    raise TooLarge("the document has too many elements", "文档元素过多")
        parser.close()
    except (ParseError, ValueError):
        raise Malformed("the document is no XML", "文档不是 XML") from None
    if root is None:
        raise Malformed("the document is empty", "文档为空")
    return root


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def text_of(element: Element | None) -> str:
    return "".join(element.itertext()).strip() if element is not None else ""
