"""Reads a table whose rows name files and values: CSV in every dialect that spreadsheets write."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

DELIMITERS: Mapping[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BYTE_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how .xlsx and .ods, and .xls begin
# Excel's own first line, which names the delimiter and is no row.
SEP_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
SAVE_AS = "save it as CSV UTF-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """The columns that a table may have."""

    files: tuple[str, ...]  # names of the columns that name files, lower case; a table may write them in any case
    is_value: Callable[[str], bool]  # whether a column of this name holds values
    values: str  # what such a column is called in messages

    def named(self, cell: str) -> str:
        """The name of the column with `cell` in the first line; of a column of files its own spelling."""
        name = cell.strip()
        return name.casefold() if name.casefold() in self.files else name

    def knows(self, name: str) -> bool:
        return name in self.files or self.is_value(name)


@dataclass(frozen=True)
class TableRow:
    """The filled cells of one row, by column."""

    files: Mapping[str, Path]  # files that exist; at least one
    values: Mapping[str, str]


@dataclass(frozen=True)
class Dialect:
    """The text of a table below a `sep=` line, and how its cells are told apart."""

    path: Path
    text: str
    skipped: int  # lines above `text`
    delimiter: str

    def place(self, line: int) -> str:
        """Where line `line` of `text` is, as messages begin."""
        return f"{self.path}, line {line + self.skipped}"

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (its first line, its cells, stripped) of each row with a filled cell. Raises InputError if broken."""
        lines = io.StringIO(self.text, newline="")
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(
                    f"{self.place(line)}: the quotes of a cell do not match ({error}): enclose the whole cell in "
                    "quotes, and double those inside it."
                ) from error
            if any(cells):
                yield line, cells


def read_table(path: Path, columns: Columns) -> tuple[TableRow, ...]:
    """The rows of a CSV table; file names are relative to its folder; empty cells and empty rows are skipped.

    The delimiter (comma, semicolon, tab or |) is the one that splits the line of column names into `columns`, or the
    one that a first line `sep=;` names. The text is UTF-8, UTF-16 with a byte order mark, or else Windows-1252, which
    a warning says.

    Raises:
        InputError: the table cannot be read or has no rows, a column is unknown or given twice, a row has more cells
            than columns, names no file or a file that does not exist.
    """
    text = decode_table(path)
    sep = SEP_LINE.match(text)
    if sep:
        table = Dialect(path, text[sep.end() :], 1, sep[1])
    else:
        table = max((Dialect(path, text, 0, delimiter) for delimiter in DELIMITERS), key=lambda t: _fit(t, columns))
    records = table.records()
    line, header = next(records, (1, []))
    names = _names(table.place(line), header, columns)
    rows = tuple(_row(table, line, _filled(table, line, names, cells), columns) for line, cells in records)
    if not rows:
        raise InputError(f"{path} has no rows: below the line of column names, each line is one job.")
    return rows


def decode_table(path: Path) -> str:
    """The text of the file at `path`. Raises InputError if it cannot be read, or is no text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read as a table ({error.strerror}): check the path.") from error
    if data.startswith(WORKBOOKS):
        raise InputError(f"{path} is a workbook of a spreadsheet program, not CSV: open it there and {SAVE_AS}.")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = _windows_text(path, data, error)
    if "\0" in text:
        raise InputError(f"{path} is no text, or UTF-16 without a byte order mark: {SAVE_AS}.")
    return text


def _windows_text(path: Path, data: bytes, error: UnicodeDecodeError) -> str:
    try:
        if error.encoding != "utf-8":
            raise error
        text = data.decode("cp1252")
    except UnicodeDecodeError as last:
        raise InputError(f"{path} cannot be read as a table ({last}): {SAVE_AS}.") from error
    _log.warning("%s is not UTF-8 and was read as Windows-1252: if names look wrong, %s.", path, SAVE_AS)
    return text


def _fit(table: Dialect, columns: Columns) -> int:
    """How many columns of files the delimiter finds in the first row; with a wrong one they have neighbours in them."""
    try:
        _, header = next(table.records(), (1, []))
    except InputError:
        return -1
    return len({*columns.files} & {columns.named(cell) for cell in header})


def _names(place: str, header: Sequence[str], columns: Columns) -> list[str]:
    """The column names; empty for a column without one. Raises InputError for an unknown name, or one given twice."""
    names = [columns.named(cell) for cell in header]
    if not {*columns.files} & {*names}:
        raise InputError(
            f"{place}: no column is named {' or '.join(columns.files)}: begin the table with a line of column names, "
            f"such as {','.join(columns.files)}, separated by comma, semicolon, tab or |."
        )
    for name in filter(None, names):
        if not columns.knows(name):
            listed = f"{', '.join(columns.files)} nor {columns.values}"
            raise InputError(f"{place}: the column {name!r} is neither {listed}: rename it.")
        if names.count(name) > 1:
            raise InputError(f"{place}: the column {name} is there {names.count(name)} times: keep one.")
    return names


def _filled(table: Dialect, line: int, names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The filled cells by column. Raises InputError for one that is in no column."""
    if any(cells[len(names) :]):
        delimiter = DELIMITERS.get(table.delimiter, table.delimiter)
        raise InputError(f"{table.place(line)}: more cells than columns: put cells that hold a {delimiter} in quotes.")
    for number, (name, cell) in enumerate(zip(names, cells, strict=False), 1):
        if cell and not name:
            raise InputError(f"{table.place(line)}: {cell!r} is in column {number}, which has no name: name it.")
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell}


def _row(table: Dialect, line: int, filled: Mapping[str, str], columns: Columns) -> TableRow:
    files = {role: table.path.parent / filled[role] for role in columns.files if role in filled}
    if not files:
        raise InputError(f"{table.place(line)}: names no file: fill in {' or '.join(columns.files)}.")
    for role, file in files.items():
        if not _is_file(file):
            raise InputError(
                f"{table.place(line)}: no such file as the {role} {file}: correct the name, which is relative to the "
                "table's folder."
            )
    return TableRow(files, {name: cell for name, cell in filled.items() if name not in columns.files})


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system
        return False
