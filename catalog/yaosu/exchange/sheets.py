"""Tables out and in: CSV whose cells are never formulas, XLSX with typed cells, and back.

A cell that a spreadsheet would run is text here: CSV gets an apostrophe before it (OWASP ASVS
V1.2.10), XLSX says that it is text. What others send as XLSX is read in the sandbox alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from yaosu.errors import InvalidInput, Malformed, TooLarge, Unsupported
from yaosu_schemas.texts import clip
from yaosu_validators.excel import sheet_rows
from yaosu_validators.streams import SourceProblem

CSV, XLSX, JSON = "csv", "xlsx", "json"
MEDIA: Mapping[str, str] = {
    CSV: "text/csv; charset=utf-8",
    XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    JSON: "application/json",
}
MOST_ROWS = 200_000
MOST_CELL = 2000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

Row = Sequence[str | int | None]


def safe(value: str | int | None) -> str:
    """Return a cell of CSV: a number as it is, text that no spreadsheet runs."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = _CONTROL.sub("", value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(text: str) -> str:
    """Return what a cell said before `safe`."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def to_csv(header: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return a table as CSV in UTF-8, with a mark that Excel knows it by."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([safe(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def to_xlsx(title: str, header: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return a table as one sheet; whole numbers are numbers, everything else is text."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    sheet.append([_typed(sheet, name) for name in header])
    for row in rows:
        sheet.append([_typed(sheet, cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _typed(sheet: Any, value: str | int | None) -> Any:
    if value is None or isinstance(value, int):
        return value
    cell = WriteOnlyCell(sheet, value=_CONTROL.sub("", value))
    cell.data_type = "s"
    return cell


def read(data: bytes, format_: str) -> tuple[list[str], Iterator[list[str | int | None]]]:
    """Return the header and the rows of a table of somebody else's."""
    if format_ == CSV:
        rows = _csv(data)
    elif format_ == XLSX:
        rows = _xlsx(data)
    else:
        raise Unsupported("a table is CSV, XLSX or JSON", "表格应为 CSV、XLSX 或 JSON")
    header = next(rows, None)
    if header is None or not any(header):
        raise Malformed("the file has no header", "文件缺少表头", row=1)
    return [str(cell or "").strip() for cell in header], rows


def _csv(data: bytes) -> Iterator[list[str | int | None]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")  # what spreadsheets write in China
        except UnicodeDecodeError:
            raise Malformed("the file is not text in UTF-8", "文件不是 UTF-8 文本") from None
    if "\x00" in text:
        raise Malformed("the file is not text", "文件不是文本")
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1):
            _within(number)
            yield [plain(cell) or None for cell in row]
    except csv.Error as error:
        raise Malformed(
            f"the CSV cannot be read: {clip(str(error))}", f"CSV 无法解析：{clip(str(error))}"
        ) from None


def _xlsx(data: bytes) -> Iterator[list[str | int | None]]:
    try:
        for number, row in enumerate(sheet_rows(data, XLSX, {}), 1):
            _within(number)
            yield [_cell(value) for value in row]
    except SourceProblem as problem:
        note = problem.finding.note
        raise Malformed(
            f"the sheet cannot be read: {note.en}", f"表格无法读取：{note.zh}"
        ) from None


def _cell(value: Any) -> str | int | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # a sheet has no whole numbers of its own
    return str(value)


def _within(number: int) -> None:
    if number > MOST_ROWS:
        raise TooLarge(f"at most {MOST_ROWS} rows", f"至多 {MOST_ROWS} 行", limit=MOST_ROWS)


def whole(value: str | int | None, row: int, name: str) -> int | None:
    """Return an amount in fen; InvalidInput names the row and the field, never the value."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        found = value
    elif isinstance(value, str) and re.fullmatch("-?[0-9]{1,16}", value.strip()):
        found = int(value)
    else:
        found = 10**16
    if found is not None and abs(found) > 10**15:
        raise InvalidInput(
            f"row {row}: {name} is a whole number of fen",
            f"第 {row} 行：{name} 应为整数分",
            row=row,
            field=name,
        )
    return found
