"""Shapes on the map: GeoJSON and TopoJSON objects, and well-known text (ISO 19125-1 §7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_Test = Callable[[Any], bool]


def is_geojson(value: Any) -> bool:
    """Say whether an object is GeoJSON: a geometry, a collection, a feature or features."""
    if not isinstance(value, dict) or "type" not in value:
        return False
    if not _crs(value.get("crs")) or not _optional(value, "bbox", _numbers):
        return False
    kind = value["type"]
    if kind == "Feature":
        return _feature(value)
    if kind == "FeatureCollection":
        return _list(_feature)(value.get("features"))
    if kind == "GeometryCollection":
        return _list(_geometry)(value.get("geometries"))
    return _geometry(value)


def is_topojson(value: Any) -> bool:
    """Say whether an object is TopoJSON: a topology, or one geometry of it."""
    if not isinstance(value, dict) or "type" not in value:
        return False
    if not _optional(value, "bbox", _sized(_numbers, 2, 2)):
        return False
    return _topology(value) if value["type"] == "Topology" else _topo_geometry(value)


def is_wkt(text: str) -> bool:
    """Say whether a text starts with one well-known text representation."""
    try:
        _WktReader(text).shape()
    except (_NotWkt, RecursionError):
        return False
    return True


# --- JSON shapes -------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return _number(value) and value == value and value % 1 == 0


def _list(test: _Test) -> _Test:
    return lambda value: isinstance(value, list) and all(test(item) for item in value)


def _sized(test: _Test, least: int, most: int | None = None) -> _Test:
    return lambda value: (
        test(value) and len(value) >= least and (most is None or len(value) <= most)
    )


def _optional(value: dict[str, Any], key: str, test: _Test) -> bool:
    return key not in value or test(value[key])


_numbers = _list(_number)
_position = _sized(_numbers, 2, 2)
_positions = _list(_position)
_ring = _sized(_positions, 4)
_GEOMETRIES: dict[str, _Test] = {
    "Point": _position,
    "MultiPoint": _positions,
    "LineString": _sized(_positions, 2),
    "MultiLineString": _list(_sized(_positions, 2)),
    "Polygon": _list(_ring),
    "MultiPolygon": _list(_list(_ring)),
}


def _geometry(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    test = _GEOMETRIES.get(value["type"])
    return test is not None and "coordinates" in value and test(value["coordinates"])


def _feature(value: Any) -> bool:
    if not isinstance(value, dict):
        return True  # the profile that Frictionless uses only speaks of objects here
    if not {"geometry", "properties"} <= value.keys() or value.get("type", "Feature") != "Feature":
        return False
    return (value["geometry"] is None or _geometry(value["geometry"])) and (
        value["properties"] is None or isinstance(value["properties"], dict)
    )


def _crs(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() != {"type", "properties"}:
        return False
    facts = value["properties"]
    if not isinstance(facts, dict):
        return False
    if value["type"] == "name":
        return facts.keys() == {"name"} and isinstance(facts["name"], str)
    if value["type"] == "link":
        return isinstance(facts.get("href"), str) and _optional(
            facts, "type", lambda v: isinstance(v, str)
        )
    return False


_TOPO: dict[str, tuple[str, _Test]] = {
    "Point": ("coordinates", _sized(_numbers, 2)),
    "MultiPoint": ("coordinates", _list(_sized(_numbers, 2))),
    "LineString": ("arcs", _list(_integer)),
    "MultiLineString": ("arcs", _list(_list(_integer))),
    "Polygon": ("arcs", _list(_list(_integer))),
    "MultiPolygon": ("arcs", _list(_list(_list(_integer)))),
}


def _topo_geometry(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    if not _optional(value, "id", lambda v: isinstance(v, str) or _integer(v)):
        return False
    if not _optional(value, "properties", lambda v: isinstance(v, dict)):
        return False
    if value["type"] == "GeometryCollection":
        return _list(_topo_geometry)(value.get("geometries"))
    key, test = _TOPO.get(value["type"], ("", None))
    return test is not None and key in value and test(value[key])


def _topology(value: dict[str, Any]) -> bool:
    objects, arcs = value.get("objects"), value.get("arcs")
    arc = _sized(_list(lambda p: p is None or _sized(_numbers, 2)(p)), 2)
    if not isinstance(objects, dict) or not all(_topo_geometry(o) for o in objects.values()):
        return False
    if not _list(arc)(arcs):
        return False
    transform = value.get("transform", {"scale": [1, 1], "translate": [0, 0]})
    pair = _sized(_numbers, 2)
    return isinstance(transform, dict) and all(
        pair(transform.get(key)) for key in ("scale", "translate")
    )


# --- well-known text ---------------------------------------------------------------------------


class _NotWkt(ValueError):
    pass


_SPACE = re.compile(r"\s*")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class _WktReader:
    """Reads one representation from left to right; what follows it is not looked at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def shape(self) -> None:
        for name, body in _SHAPES.items():
            if self.word(name):
                if not self.word("ZM") and not self.word("Z"):
                    self.word("M")
                body(self)
                return
        raise _NotWkt

    def word(self, word: str) -> bool:
        start = self.skip()
        end = start + len(word)
        if self.text[start:end] != word or self.text[end : end + 1].isalnum():
            return False
        self.at = end
        return True

    def mark(self, mark: str) -> bool:
        start = self.skip()
        if self.text[start : start + 1] != mark:
            return False
        self.at = start + 1
        return True

    def number(self) -> bool:
        found = _DECIMAL.match(self.text, self.skip())
        if found is None:
            return False
        self.at = found.end()
        return True

    def skip(self) -> int:
        found = _SPACE.match(self.text, self.at)
        return found.end() if found else self.at

    def group(self, item: Callable[[_WktReader], None], *, many: bool = True) -> None:
        if self.word("EMPTY"):
            return
        if not self.mark("("):
            raise _NotWkt
        item(self)
        while many and self.mark(","):
            item(self)
        if not self.mark(")"):
            raise _NotWkt


_Body = Callable[[_WktReader], None]


def _point(r: _WktReader) -> None:
    if not (r.number() and r.number()):
        raise _NotWkt
    if r.number():
        r.number()


def _groups(item: _Body, *, many: bool = True) -> _Body:
    return lambda r: r.group(item, many=many)


_single = _groups(_point, many=False)
_line = _groups(_point)
_polygon = _groups(_line)
_triangle = _groups(_line, many=False)


def _named(named: dict[str, _Body], other: _Body) -> _Body:
    def body(r: _WktReader) -> None:
        for name, inner in named.items():
            start = r.at
            if r.word(name):
                if name in ("CIRCULARSTRING", "COMPOUNDCURVE") and not r.word("ZM"):
                    _ = r.word("Z") or r.word("M")
                inner(r)
                return
            r.at = start
        other(r)

    return body


_curve_part = _named({"CIRCULARSTRING": _line}, _line)
_compound = _groups(_curve_part)
_curve = _named({"CIRCULARSTRING": _line, "COMPOUNDCURVE": _compound}, _line)
_curve_polygon = _groups(_curve)
_surface = _named({"CURVEPOLYGON": _curve_polygon}, _polygon)
_SHAPES: dict[str, _Body] = {
    "POINT": _single,
    "LINESTRING": _line,
    "CIRCULARSTRING": _line,
    "COMPOUNDCURVE": _compound,
    "CURVEPOLYGON": _curve_polygon,
    "POLYGON": _polygon,
    "TRIANGLE": _triangle,
    "MULTIPOINT": _groups(_single),
    "MULTICURVE": _groups(_curve),
    "MULTILINESTRING": _polygon,
    "MULTISURFACE": _groups(_surface),
    "MULTIPOLYGON": _groups(_polygon),
    "POLYHEDRALSURFACE": _groups(_polygon),
    "TIN": _groups(_triangle),
    "GEOMETRYCOLLECTION": _groups(lambda r: r.shape()),
}
