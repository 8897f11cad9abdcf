"""How to mend each kind of finding: what a provider does next, in both languages."""

from __future__ import annotations

from yaosu_schemas.errors import Text

MENDING: dict[str, Text] = {
    "type-error": Text(
        "Correct the cell, list the placeholder under `missingValues`, or widen the field's type.",
        "更正单元格；若为占位符，列入 missingValues；或放宽字段类型。",
    ),
    "constraint-error": Text(
        "Correct the value, or loosen the constraint in the schema if the value is right.",
        "更正该值；若值正确，请放宽模式中的约束。",
    ),
    "unique-error": Text(
        "Remove the repeated record, or drop `unique` from the field.",
        "删除重复记录，或取消该字段的唯一约束。",
    ),
    "extra-cell": Text(
        "Look for an unquoted delimiter inside a value, or add the missing label to the header.",
        "检查值中是否有未加引号的分隔符，或在表头补上缺少的列名。",
    ),
    "missing-cell": Text(
        "Fill the row up with empty cells; a broken quote may have swallowed some.",
        "用空单元格补齐该行；也可能是引号未闭合。",
    ),
    "blank-row": Text("Delete the row.", "删除该行。"),
    "primary-key": Text(
        "Fill the key and remove repeated records, or name other fields as the key.",
        "补全主键并删除重复记录，或改用其他字段作主键。",
    ),
    "unique-key": Text(
        "Remove records that repeat the combination, or change the unique key.",
        "删除组合值重复的记录，或修改唯一键。",
    ),
    "foreign-key": Text(
        "Add the record that is referred to, or correct the reference.",
        "补充被引用的记录，或更正引用。",
    ),
    "blank-header": Text("Put the labels of the columns in the first row.", "在首行写上列名。"),
    "blank-label": Text("Give the column a label.", "为该列填写列名。"),
    "duplicate-label": Text("Give each column a label of its own.", "为每列使用不同的列名。"),
    "missing-label": Text(
        "Add the column, or take the field out of the schema.", "补上该列，或从模式中删除该字段。"
    ),
    "extra-label": Text(
        "Describe the column in the schema, or remove it.", "在模式中描述该列，或将其删除。"
    ),
    "incorrect-label": Text(
        "Use the field's name as the label, or change the name in the schema.",
        "列名须与字段名一致，或修改模式中的字段名。",
    ),
    "unmatched-header": Text(
        "Bring header and schema together: `yaosu describe` shows what the file has.",
        "使表头与模式一致，可用 yaosu describe 查看文件实际的列。",
    ),
    "hash-count": Text(
        "The file is not the one described: upload the right one, or describe it again.",
        "文件与描述不符：请上传正确的文件，或重新描述。",
    ),
    "byte-count": Text(
        "The file was cut or changed: upload it again, or describe it again.",
        "文件被截断或修改：请重新上传，或重新描述。",
    ),
    "field-count": Text("Describe the file again.", "请重新描述该文件。"),
    "row-count": Text(
        "Records are missing or too many: describe the file again if the file is right.",
        "记录数不符：若文件正确，请重新描述。",
    ),
    "source-error": Text(
        "The file cannot be read as what it is said to be: export it again.",
        "文件无法按声明的格式读取，请重新导出。",
    ),
    "scheme-error": Text(
        "Put the file beside the descriptor: it is not there, or is an address.",
        "请将文件放在描述文件旁：文件不存在或为网址。",
    ),
    "format-error": Text(
        "Name the right format, or convert the file to CSV, JSON Lines or Parquet.",
        "请注明正确格式，或转换为 CSV、JSON Lines 或 Parquet。",
    ),
    "encoding-error": Text(
        "Save the file as UTF-8 or name its encoding; if it is no text, name its real format.",
        "请另存为 UTF-8 或注明字符编码；若并非文本，请注明实际格式。",
    ),
    "compression-error": Text(
        "The compressed file is damaged or cut: pack it again.",
        "压缩文件损坏或被截断，请重新压缩。",
    ),
    "lfs-pointer": Text(
        "Run `git lfs pull` and upload the data itself.", "请执行 git lfs pull，上传数据本身。"
    ),
    "html-page": Text(
        "A web page was saved in place of the data: download the file again.",
        "保存的是网页而非数据，请重新下载文件。",
    ),
    "encrypted-archive": Text(
        "Upload it without a password: nobody can judge what cannot be read.",
        "请上传未加密的文件：无法读取的内容不能检验。",
    ),
    "format-mismatch": Text(
        "Give the file the suffix of what it holds.", "请使文件扩展名与内容一致。"
    ),
    "resource-limit": Text(
        "Split the file into parts, or repack it: it may be a compression bomb.",
        "请拆分文件或重新打包：可能是压缩炸弹。",
    ),
    "reader-crashed": Text(
        "Write the file again with a current library; it is damaged.",
        "文件已损坏，请使用当前版本的库重新生成。",
    ),
    "unsafe-path": Text(
        "Use a relative path inside the folder, without `..` and hidden names.",
        "请使用文件夹内的相对路径，不含 .. 和隐藏名称。",
    ),
    "file-changed": Text(
        "The file was written to while it was read: try again when it is at rest.",
        "读取期间文件被修改，请在文件稳定后重试。",
    ),
    "licence-error": Text(
        "Name an SPDX licence, or `LicenseRef-…` with the text of yours.",
        "请填写 SPDX 许可，或 LicenseRef-… 并附许可文本。",
    ),
    "profile-error": Text(
        "Fill in what the profile asks for: `yaosu describe` lists it.",
        "请补全规范要求的内容，yaosu describe 会逐项列出。",
    ),
}

_DOCUMENT = Text("Correct the descriptor where the message points.", "请按提示更正描述文件。")
READ_IT = Text("Read the message of the check.", "请参阅该检查的说明。")


def how_to_mend(type_: str) -> Text:
    """Return what to do about a finding of this kind; READ_IT where only its check can say."""
    found = MENDING.get(type_)
    if found is not None:
        return found
    from .messages import corpus_words

    if type_ in corpus_words():
        return corpus_words()[type_][1]
    documents = ("package", "resource", "schema", "field", "dialect", "control", "metadata")
    return _DOCUMENT if type_.startswith(documents) else READ_IT
