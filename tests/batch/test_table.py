"""Tables as people save them: delimiters, encodings, quotes, line ends, empty cells; and what is said of bad ones."""

import logging

import pytest

from personalive_core.batch.rows import csv_rows
from personalive_core.errors import InputError

NAMES = ("Ann Müller.png", "A, B;C|D.png", "nod.MP4")
PLAIN = "reference,driving,6.seed\n{0},{2},42\n"


@pytest.fixture
def read(tmp_path):
    """Writes the bytes or text as a table beside its files; returns (files by role, values) of each row."""
    for name in NAMES:
        (tmp_path / name).write_text(name)

    def read(table, encoding="utf-8"):
        data = table if isinstance(table, bytes) else table.format(*NAMES).encode(encoding)
        (tmp_path / "rows.csv").write_bytes(data)
        rows = csv_rows(tmp_path / "rows.csv")
        return [({role: path.name for role, path in row.files.items()}, dict(row.values)) for row in rows]

    return read


ONE = [({"reference": NAMES[0], "driving": NAMES[2]}, {"6.seed": "42"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(read, delimiter):
    assert read(PLAIN.replace(",", delimiter)) == ONE
    quoted = f'"reference"{delimiter}"6.seed"\n"{{1}}"{delimiter}"a{delimiter} ""b"""\n'
    assert read(quoted) == [({"reference": NAMES[1]}, {"6.seed": f'a{delimiter} "b"'})]


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        ("6.seed;reference;7.cfg", ";"),  # split at no comma it is one name with a dot in it
        ("reference|Node, one.seed|7.cfg", "|"),
        ("Node;one.seed,reference,7.cfg", ","),
    ],
)
def test_a_delimiter_in_a_nodes_title_misleads_nobody(read, head, delimiter):
    cells = {"reference": "{0}"}
    line = delimiter.join(cells.get(name, "5") for name in head.split(delimiter))
    ((files, values),) = read(f"{head}\n{line}\n")
    assert files == {"reference": NAMES[0]}
    assert [*values] == [name for name in head.split(delimiter) if name != "reference"]


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\r\n', "SEP=; \n"])
def test_excels_first_line_names_the_delimiter(read, line):
    assert read(line + PLAIN.replace(",", ";")) == ONE
    assert read("sep=^\n" + PLAIN.replace(",", "^")) == ONE
    assert read("sep=\t\n" + PLAIN.replace(",", "\t")) == ONE
    with pytest.raises(InputError, match=r"rows.csv, line 3: no such file as the reference .*gone.png: correct"):
        read(line + "reference;driving\ngone.png;{2}\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(read, encoding, caplog):
    assert read(PLAIN, encoding) == ONE
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == (encoding == "cp1252")
    assert not warned or "is not UTF-8 and was read as Windows-1252: if names look wrong, save it as" in warned[0]


def test_utf_16_of_the_other_byte_order(read):
    assert read(b"\xfe\xff" + PLAIN.format(*NAMES).encode("utf-16-be")) == ONE


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends_blank_lines_and_empty_rows(read, end, tmp_path):
    table = "\n;;\nreference;driving;6.seed\n\n;;\n{0};{2};42;;;\n;;;;\n   \n".replace("\n", end)
    assert read(table) == ONE
    assert read(table.rstrip(end)) == ONE
    with pytest.raises(InputError, match="rows.csv, line 6: names no file: fill in reference or driving"):
        read(table.replace("{0};{2}", ";"))
    assert tmp_path.exists()


def test_names_of_columns_in_any_case_with_spaces(read):
    head = " Reference , DRIVING ,6.Seed ,\n"
    assert read(head + "{0}, {2} , 42,\n") == [(ONE[0][0], {"6.Seed": "42"})]
    assert read(head + '{0}, "{2}", "4, 2"\n') == [(ONE[0][0], {"6.Seed": "4, 2"})]


def test_cells_may_hold_line_breaks(read):
    table = 'reference,6.text\n{0},"two\nlines"\ngone.png,x\n'
    with pytest.raises(InputError, match="line 4: no such file"):
        read(table)
    assert read(table.replace("gone.png,x\n", ""))[0][1] == {"6.text": "two\nlines"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "line 1: no column is named reference or driving: begin the table with a line of column names"),
        ("reference;driving\n", "has no rows: below the line of column names"),
        ("{0},{2}\n", "line 1: no column is named reference or driving"),  # dots in names are no NODE.INPUT
        ("\nreference:driving\n{0}:{2}\n", "line 2: no column is named reference or driving"),
        ("reference;note\n{0};x\n", "line 1: the column 'note' is neither reference, driving nor NODE.INPUT as in"),
        ("reference,Reference\n{0},{0}\n", "line 1: the column reference is there 2 times: keep one"),
        ("reference;6.seed\n{0};1;2\n", "line 2: more cells than columns: put cells that hold a semicolon in quotes"),
        ("reference,,6.seed\n{0},x,1\n", "line 2: 'x' is in column 2, which has no name: name it"),
        ('reference,6.text\n{0},a\n{0},"b\n{0},c\n', "line 3: the quotes of a cell do not match"),
        (f"reference\n{'x' * 300}.png\n", "line 2: no such file as the reference"),
        (PLAIN.encode("utf-16-le"), "is no text, or UTF-16 without a byte order mark: save it as CSV UTF-8"),
        (b"PK\x03\x04" + bytes(30), "is a workbook of a spreadsheet program, not CSV: open it there and save it as"),
        (b"\xff\xfer\0e", "cannot be read as a table ('utf-16"),
        (b"reference\n\x81.png\n", "cannot be read as a table ('charmap' codec"),
    ],
)
def test_bad_tables_are_told_in_one_sentence(read, table, words):
    with pytest.raises(InputError) as told:
        read(table)
    assert words in str(told.value)
    assert str(told.value).startswith("/")
    assert "\n" not in str(told.value)
    assert str(told.value).rpartition(": ")[2]


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="gone.csv cannot be read as a table \\(No such file or directory\\): check"):
        csv_rows(tmp_path / "gone.csv")
