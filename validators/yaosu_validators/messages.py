"""The words of findings: each kind is data (title, description, sentence, tags) in two languages.

The names of the kinds are those of Frictionless, so that its readers understand ours; the
sentences are our own. Kinds that Frictionless does not know stand in the last block; those of the
checks of a corpus in `corpus/findings.csv`, a line each.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from yaosu_schemas.errors import Text
from yaosu_schemas.report import ReportError
from yaosu_schemas.texts import clip, clip_all

from .check import Finding

_FILE = ("#file",)
_HEADER = ("#table", "#header")
_LABEL = ("#table", "#header", "#label")
_ROW = ("#table", "#row")
_CELL = ("#table", "#row", "#cell")
_CELL_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding; `sentence` is filled with the facts of a finding."""

    title: Text
    description: Text
    sentence: Text
    tags: tuple[str, ...] = ()


def _kind(
    title: str, zh: str, why: str, why_zh: str, says: str, says_zh: str, tags: tuple[str, ...] = ()
) -> Kind:
    return Kind(Text(title, zh), Text(why, why_zh), Text(says, says_zh), tags)


def _document(title: str, zh: str, thing: str, thing_zh: str) -> Kind:
    return _kind(
        title,
        zh,
        f"The {thing} breaks a rule of its profile.",
        f"{thing_zh}不符合其规范。",
        f"the {thing} is not valid: {{note}}",
        f"{thing_zh}无效：{{note}}",
    )


KINDS: dict[str, Kind] = {
    "type-error": _kind(
        "Wrong type",
        "类型错误",
        "The cell cannot be read as the type and format of its field.",
        "单元格无法按字段的类型和格式读取。",
        "row {row}, field {name!r} ({number}): {shown} cannot be read: {note}",
        "第 {row} 行，字段“{name}”（第 {number} 列）：{shown_zh}无法读取：{note}",
        _CELL,
    ),
    "constraint-error": _kind(
        "Constraint broken",
        "违反约束",
        "The value has the right type and breaks a constraint of its field.",
        "值的类型正确，但违反了字段的约束。",
        "row {row}, field {name!r} ({number}): {shown} breaks a constraint: {note}",
        "第 {row} 行，字段“{name}”（第 {number} 列）：{shown_zh}违反约束：{note}",
        _CELL,
    ),
    "unique-error": _kind(
        "Value not unique",
        "值重复",
        "The field must hold each value once, and this value stood in an earlier row.",
        "该字段的值必须唯一，但此值已在前面的行中出现。",
        "row {row}, field {name!r} ({number}): {note}",
        "第 {row} 行，字段“{name}”（第 {number} 列）：{note}",
        _CELL,
    ),
    "extra-cell": _kind(
        "Extra cell",
        "多余单元格",
        "The row has more cells than the header has labels.",
        "该行的单元格多于表头的列数。",
        "row {row} has an extra cell at position {number}",
        "第 {row} 行在第 {number} 个位置有多余的单元格",
        _CELL,
    ),
    "missing-cell": _kind(
        "Missing cell",
        "缺少单元格",
        "The row has fewer cells than the header has labels.",
        "该行的单元格少于表头的列数。",
        "row {row} has no cell for field {name!r} ({number})",
        "第 {row} 行缺少字段“{name}”（第 {number} 列）的单元格",
        _CELL,
    ),
    "blank-row": _kind(
        "Blank row",
        "空行",
        "No cell of the row holds a value.",
        "该行没有任何值。",
        "row {row} is blank",
        "第 {row} 行为空行",
        _ROW,
    ),
    "primary-key": _kind(
        "Primary key broken",
        "违反主键",
        "The primary key must be there and must differ in every row.",
        "主键必须存在，且每行不同。",
        "row {row} breaks the primary key: {note}",
        "第 {row} 行违反主键：{note}",
        _ROW,
    ),
    "unique-key": _kind(
        "Unique key broken",
        "违反唯一键",
        "The fields of a unique key together must differ in every row (Table Schema v2).",
        "唯一键各字段的组合在每行中必须不同（Table Schema v2）。",
        "row {row} breaks a unique key: {note}",
        "第 {row} 行违反唯一键：{note}",
        _ROW,
    ),
    "foreign-key": _kind(
        "Foreign key broken",
        "违反外键",
        "The value must stand in the table that the foreign key refers to.",
        "值必须存在于外键引用的表中。",
        "row {row} breaks a foreign key: {note}",
        "第 {row} 行违反外键：{note}",
        _ROW,
    ),
    "blank-header": _kind(
        "Blank header",
        "空表头",
        "The header holds no label.",
        "表头没有任何列名。",
        "the header is blank",
        "表头为空",
        _HEADER,
    ),
    "unmatched-header": _kind(
        "No label matches",
        "表头无匹配",
        "At least one label must be a field of the schema (fieldsMatch: partial).",
        "表头中至少要有一个模式字段（fieldsMatch: partial）。",
        "no label of the header is a field of the schema",
        "表头中没有任何一列是模式中的字段",
        _HEADER,
    ),
    "blank-label": _kind(
        "Blank label",
        "空列名",
        "A label of the header is empty.",
        "表头中有空的列名。",
        "the label at position {number} is blank",
        "第 {number} 列的列名为空",
        _LABEL,
    ),
    "duplicate-label": _kind(
        "Duplicate label",
        "列名重复",
        "A label of the header stands there twice.",
        "表头中的列名重复出现。",
        "the label {label!r} at position {number} is there already: {note}",
        "第 {number} 列的列名“{label}”重复：{note}",
        _LABEL,
    ),
    "missing-label": _kind(
        "Missing label",
        "缺少列名",
        "A field of the schema has no label in the header.",
        "模式中的字段在表头中没有对应的列名。",
        "the header has no label for field {name!r} ({number})",
        "表头缺少字段“{name}”（第 {number} 列）",
        _LABEL,
    ),
    "extra-label": _kind(
        "Extra label",
        "多余列名",
        "A label of the header is no field of the schema.",
        "表头中的列名不是模式中的字段。",
        "the label {label!r} at position {number} is no field of the schema",
        "第 {number} 列的列名“{label}”不在模式中",
        _LABEL,
    ),
    "incorrect-label": _kind(
        "Incorrect label",
        "列名不符",
        "A label differs from the name of the field at its position.",
        "列名与该位置的字段名不同。",
        "the label {label!r} at position {number} should be {name!r}",
        "第 {number} 列的列名“{label}”应为“{name}”",
        _LABEL,
    ),
    "hash-count": _kind(
        "Hash differs",
        "哈希不符",
        "The bytes are not those that the descriptor promises.",
        "文件内容与描述符承诺的哈希不一致。",
        "the hash of the file differs: {note}",
        "文件哈希不符：{note}",
        _FILE,
    ),
    "byte-count": _kind(
        "Size differs",
        "字节数不符",
        "The number of bytes is not the one that the descriptor promises.",
        "字节数与描述符承诺的不一致。",
        "the size of the file differs: {note}",
        "文件大小不符：{note}",
        _FILE,
    ),
    "field-count": _kind(
        "Number of fields differs",
        "字段数不符",
        "The number of fields is not the one that the descriptor promises.",
        "字段数与描述符承诺的不一致。",
        "the number of fields differs: {note}",
        "字段数不符：{note}",
        ("#table",),
    ),
    "row-count": _kind(
        "Number of rows differs",
        "行数不符",
        "The number of rows is not the one that the descriptor promises.",
        "行数与描述符承诺的不一致。",
        "the number of rows differs: {note}",
        "行数不符：{note}",
        ("#table",),
    ),
    "source-error": _kind(
        "Unreadable content",
        "内容无法读取",
        "The content is broken, empty or not of the kind it should be.",
        "内容损坏、为空或与应有的类型不符。",
        "the content cannot be read: {note}",
        "内容无法读取：{note}",
        _FILE,
    ),
    "scheme-error": _kind(
        "File not loaded",
        "文件无法加载",
        "The file is not there, or lies in a place that is never read.",
        "文件不存在，或位于不会读取的位置。",
        "the file cannot be loaded: {note}",
        "文件无法加载：{note}",
        _FILE,
    ),
    "format-error": _kind(
        "Format not read",
        "格式不支持",
        "The format is unknown here, or the file is not of it.",
        "不支持该格式，或文件不是该格式。",
        "the format cannot be read: {note}",
        "格式无法读取：{note}",
        _FILE,
    ),
    "encoding-error": _kind(
        "Encoding broken",
        "编码错误",
        "The bytes are not text in the encoding that was declared or detected.",
        "字节不是所声明或检测到的编码的文本。",
        "the text cannot be decoded: {note}",
        "文本无法解码：{note}",
        _FILE,
    ),
    "compression-error": _kind(
        "Compression broken",
        "压缩错误",
        "The compressed file is damaged, cut off, or of an unknown kind.",
        "压缩文件损坏、被截断或类型未知。",
        "the file cannot be decompressed: {note}",
        "文件无法解压：{note}",
        _FILE,
    ),
    "package-error": _document("Package not valid", "数据包无效", "data package", "数据包"),
    "resource-error": _document("Resource not valid", "数据资源无效", "data resource", "数据资源"),
    "schema-error": _document("Schema not valid", "表模式无效", "table schema", "表模式"),
    "field-error": _document("Field not valid", "字段无效", "field", "字段"),
    "dialect-error": _document("Dialect not valid", "方言无效", "dialect", "方言"),
    "control-error": _document("Control not valid", "格式控制无效", "format control", "格式控制"),
    "check-error": _document("Check not valid", "检查无效", "check", "检查"),
    "metadata-error": _document("Metadata not valid", "元数据无效", "metadata", "元数据"),
    # Ours: what Frictionless has no word for.
    "lfs-pointer": _kind(
        "Git-LFS pointer instead of data",
        "Git-LFS 指针而非数据",
        "The file is the small text that Git-LFS leaves in place of the data.",
        "文件只是 Git-LFS 留下的指针文本，不是数据本身。",
        "the file is a Git-LFS pointer, not the data: {note}",
        "文件是 Git-LFS 指针而非数据：{note}",
        _FILE,
    ),
    "html-page": _kind(
        "Web page instead of data",
        "网页而非数据",
        "The file is a web page, as servers send in place of a file that they refuse.",
        "文件是网页，通常是服务器拒绝下载时返回的错误页。",
        "the file is a web page, not the data: {note}",
        "文件是网页而非数据：{note}",
        _FILE,
    ),
    "encrypted-archive": _kind(
        "Encrypted archive",
        "加密压缩包",
        "The archive needs a password, so nobody can look inside.",
        "压缩包已加密，无法查看内容。",
        "the archive is encrypted: {note}",
        "压缩包已加密：{note}",
        _FILE,
    ),
    "format-mismatch": _kind(
        "Content differs from name",
        "内容与文件名不符",
        "The content is of another format than the name says.",
        "文件内容的格式与文件名所示不同。",
        "the content is not what the name says: {note}",
        "内容与文件名不符：{note}",
        _FILE,
    ),
    "resource-limit": _kind(
        "Over a limit",
        "超出限制",
        "Reading goes on only within stated limits, so that no file can exhaust the reader.",
        "读取只在规定的限制内进行，任何文件都不能耗尽读取程序。",
        "a limit was reached: {note}",
        "达到限制：{note}",
        _FILE,
    ),
    "unsafe-path": _kind(
        "Unsafe path",
        "路径不安全",
        "A path must stay inside the folder of its descriptor and may not be a link.",
        "路径必须位于描述符所在文件夹内，且不能是链接。",
        "the path is not safe: {note}",
        "路径不安全：{note}",
        _FILE,
    ),
    "file-changed": _kind(
        "File changed while read",
        "读取时文件变化",
        "The file was written to while it was read, so the verdict fits neither version.",
        "读取过程中文件被修改，结论不适用于任何一个版本。",
        "the file changed while it was read: {note}",
        "文件在读取过程中发生变化：{note}",
        _FILE,
    ),
    "licence-error": _kind(
        "Licence unknown",
        "许可未知",
        "A listing needs a licence that the market knows.",
        "挂牌需要市场认可的许可。",
        "the licence is not known: {note}",
        "许可未知：{note}",
    ),
    "profile-error": _kind(
        "Record incomplete",
        "登记信息不完整",
        "The market needs this for a listing.",
        "市场挂牌需要此信息。",
        "{note}",
        "{note}",
    ),
}


_UNKNOWN = _kind("Finding", "发现", "", "", "{note}", "{note}")


@functools.cache
def corpus_words() -> dict[str, tuple[Kind, Text]]:
    """Return the kinds of finding of the corpus checks, each with how it is mended."""
    text = files("yaosu_validators.corpus").joinpath("findings.csv").read_text("utf-8")
    return {
        row["type"]: (
            _kind(
                row["en"], row["zh"], row["why_en"], row["why_zh"],
                f"{row['en']}: {{note}}", f"{row['zh']}：{{note}}", ("#corpus",),
            ),
            Text(row["mend_en"], row["mend_zh"]),
        )
        for row in csv.DictReader(io.StringIO(text))
    }  # fmt: skip


def _kind_of(type_: str) -> Kind:
    found = KINDS.get(type_)
    if found is None:
        found = corpus_words().get(type_, (_UNKNOWN, None))[0]
    return found


def report_text(finding: Finding) -> Text:
    """Return the sentence of a finding alone."""
    error = report_error(finding)
    return Text(error.message, error.message_zh)


@functools.lru_cache(maxsize=1 << 12)
def _sentence(
    type_: str,
    note: Text,
    name: str | None,
    number: int | None,
    cell: str | None,
    label: str | None,
) -> tuple[Kind, Text, bool]:
    """Return the kind of a finding, its sentence, and whether the number of its row goes in front.

    The same cell is often wrong in many rows; its sentence is written once.
    """
    kind = _kind_of(type_)
    facts = {
        "name": name,
        "number": number,
        "cell": cell,
        "shown": repr(cell) if cell else "an empty cell",
        "shown_zh": f"“{cell}”" if cell else "空单元格",
        "label": label,
    }
    en = kind.sentence.en.removeprefix(_ROW_EN)
    zh = kind.sentence.zh.removeprefix(_ROW_ZH)
    sentence = Text(en.format(note=note.en, **facts), zh.format(note=note.zh, **facts))
    return kind, sentence, en != kind.sentence.en


_ROW_EN, _ROW_ZH = "row {row}", "第 {row} 行"


def write_ahead(found: Sequence[Finding]) -> None:
    """Write the words of findings before their report is made: while others still read."""
    for finding in found:
        object.__setattr__(finding, "words", report_error(finding))


def report_error(finding: Finding) -> ReportError:
    """Return the finding in words: titles, sentences in both languages, facts."""
    if finding.words is not None:
        return finding.words
    row, note = finding.row, finding.note
    cell = None if finding.cell is None else clip(finding.cell, _CELL_LIMIT)
    kind, sentence, by_row = _sentence(
        finding.type, note, finding.field_name, finding.field_number, cell, finding.label
    )
    en, zh = sentence.en, sentence.zh
    if row and finding.type == "resource-limit":
        en, zh, by_row = f": {en}", f"：{zh}", True
    return ReportError(
        type=finding.type,
        title=kind.title.en,
        title_zh=kind.title.zh,
        description=kind.description.en,
        description_zh=kind.description.zh,
        message=f"row {row}{en}" if by_row else en,
        message_zh=f"第 {row} 行{zh}" if by_row else zh,
        tags=kind.tags,
        note=note.en,
        row_number=row,
        field_name=finding.field_name,
        field_number=finding.field_number,
        cell=cell,
        cells=None if finding.cells is None else clip_all(finding.cells[:100]),
        labels=None if finding.labels is None else finding.labels[:100],
        pointer=finding.pointer,
        blocking=finding.severity == "error",
    )
