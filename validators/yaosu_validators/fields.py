"""Table Schema as values: fields, constraints and keys, read from a descriptor (v1 and v2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FieldsMatch = Literal["exact", "equal", "subset", "superset", "partial"]
MISSING = ("",)
TRUE_VALUES = ("true", "True", "TRUE", "1")
FALSE_VALUES = ("false", "False", "FALSE", "0")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
LIST_ITEM_TYPES = ("string", "integer", "boolean", "number", "datetime", "date", "time")

# Which constraints a type takes, in the order in which breaches of them are reported.
CONSTRAINTS: dict[str, tuple[str, ...]] = {
    "any": ("required", "enum"),
    "array": ("required", "minLength", "maxLength", "enum", "jsonSchema"),
    "boolean": ("required", "enum"),
    "date": ("required", *BOUNDS, "enum"),
    "datetime": ("required", *BOUNDS, "enum"),
    "duration": ("required", "enum"),
    "geojson": ("required", "enum"),
    "geopoint": ("required", "enum"),
    "integer": ("required", *BOUNDS, "enum"),
    "list": ("required", "minLength", "maxLength"),
    "number": ("required", *BOUNDS, "enum"),
    "object": ("required", "minLength", "maxLength", "enum", "jsonSchema"),
    "string": ("required", "minLength", "maxLength", "pattern", "enum"),
    "time": ("required", *BOUNDS, "enum"),
    "year": ("required", *BOUNDS, "enum"),
    "yearmonth": ("required", *BOUNDS, "enum"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column as the schema describes it."""

    name: str
    type: str = "string"
    format: str = "default"
    missing: tuple[str, ...] = MISSING
    constraints: Mapping[str, Any] = field(default_factory=dict)
    true_values: tuple[str, ...] = TRUE_VALUES
    false_values: tuple[str, ...] = FALSE_VALUES
    bare_number: bool = True
    float_number: bool = False
    decimal_char: str = "."
    group_char: str = ""
    number_rules: bool = False  # one of bareNumber, decimalChar, groupChar was declared
    array_item: Mapping[str, Any] | None = None
    delimiter: str = ","
    item_type: str = "string"
    categories: tuple[Any, ...] | None = None

    @property
    def required(self) -> bool:
        return bool(self.constraints.get("required", False))

    @property
    def unique(self) -> bool:
        return bool(self.constraints.get("unique", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """Cells of `fields` must stand together in `reference_fields` of a resource ("" = itself)."""

    fields: tuple[str, ...]
    resource: str
    reference_fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A Table Schema: fields in order, keys, and how the fields match the labels."""

    fields: tuple[Field, ...] = ()
    fields_match: FieldsMatch = "exact"
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


def schema_from(descriptor: Mapping[str, Any]) -> Schema:
    """Return the schema of a descriptor that was found valid before."""
    missing = _missing(descriptor.get("missingValues"), MISSING)
    return Schema(
        fields=tuple(field_from(f, missing) for f in descriptor.get("fields", ())),
        fields_match=descriptor.get("fieldsMatch", "exact"),
        primary_key=_names(descriptor.get("primaryKey")),
        unique_keys=tuple(_names(key) for key in descriptor.get("uniqueKeys") or ()),
        foreign_keys=tuple(
            ForeignKey(
                fields=_names(key.get("fields")),
                resource=key.get("reference", {}).get("resource", "") or "",
                reference_fields=_names(key.get("reference", {}).get("fields")),
            )
            for key in descriptor.get("foreignKeys") or ()
        ),
    )


_NUMERIC = ("integer", "number")
_ONLY_OF = {
    **dict.fromkeys(("trueValues", "falseValues"), ("boolean",)),
    **dict.fromkeys(("bareNumber", "groupChar"), _NUMERIC),
    **dict.fromkeys(("decimalChar", "floatNumber"), ("number",)),
    **dict.fromkeys(("delimiter", "itemType"), ("list",)),
    "arrayItem": ("array",),
}


def field_from(descriptor: Mapping[str, Any], missing: tuple[str, ...] = MISSING) -> Field:
    """Return one field; a field without a type is a string (Table Schema v1)."""
    format_ = descriptor.get("format") or "default"
    kind = descriptor.get("type") or "string"
    rules = ("bareNumber", "decimalChar", "groupChar")
    group = descriptor.get("groupChar", "")
    # What another type would mean by a property is nothing here.
    foreign = {k for k, kinds in _ONLY_OF.items() if kind not in kinds}
    foreign |= set() if isinstance(group, str) else {"groupChar"}
    descriptor = {k: v for k, v in descriptor.items() if k not in foreign}
    return Field(
        name=descriptor["name"],
        type=kind,
        format=format_.removeprefix("fmt:"),
        missing=_missing(descriptor.get("missingValues"), missing),
        constraints=dict(descriptor.get("constraints") or {}),
        true_values=tuple(descriptor.get("trueValues", TRUE_VALUES)),
        false_values=tuple(descriptor.get("falseValues", FALSE_VALUES)),
        bare_number=descriptor.get("bareNumber", True),
        float_number=descriptor.get("floatNumber", False),
        decimal_char=descriptor.get("decimalChar", "."),
        group_char=descriptor.get("groupChar", ""),
        number_rules=any(descriptor.get(rule) is not None for rule in rules),
        array_item=descriptor.get("arrayItem") or None,
        delimiter=descriptor.get("delimiter", ","),
        item_type=descriptor.get("itemType", "string"),
        categories=_categories(descriptor.get("categories")),
    )


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _missing(entries: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return the strings; v2 also writes them as objects with a label (Table Schema v2)."""
    if entries is None:
        return default
    return tuple(e["value"] if isinstance(e, Mapping) else e for e in entries)


def _categories(entries: Any) -> tuple[Any, ...] | None:
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        return None
    return tuple(e["value"] if isinstance(e, Mapping) else e for e in entries)
