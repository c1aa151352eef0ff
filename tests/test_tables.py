"""Parquet, CSV, npy, npz and text files: what is written is read back, and what is damaged or hostile is refused."""

import csv
import io
import os
import pickle
import re
import struct
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.tables import files, read_npy, read_npz, read_sheet, read_table, write_lines, write_npy, write_table

UNICODE = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
AWKWARD = [
    "a,b",
    'a"b',
    "a\nb",
    "a\rb",
    "\r",
    "",
    "=cmd|' /C calc'!A0",
    "é漢\u202e",
    " x ",
    "'",
    '"',
    "\\n",
    "\ufeffa",
    "a\0",
    "007",
    "-x",
]
FORMATS = ["t.parquet", "t.csv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def same(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


class TestTable:
    @pytest.mark.parametrize("name", FORMATS)
    def test_every_kind_of_column_comes_back(self, tmp_path, name):
        columns = {
            "id": ["a", "b", "c"],
            "label": np.array([2, -1, 2**62]),
            "el2n": np.array([0.1, -0.0, np.nan]),
            "is_suspect": np.array([True, False, True]),
            "other": ["x", "", "y z"],
            "big": np.array([0, 1, 2**64 - 1], np.uint64),
        }
        write_table(tmp_path / name, columns)
        table = read_table(tmp_path / name)
        assert list(table.columns) == list(columns)
        for key, values in columns.items():
            same(table.columns[key], np.array(values, object) if isinstance(values, list) else values)
        assert np.signbit(table.columns["el2n"][1])

    def test_csv_is_this_text(self, tmp_path):
        columns = {"id": ['a"b', "=1"], "el2n": np.array([0.1, 1e-8], np.float32), "n": [1, 2], "a b": [True, False]}
        write_table(tmp_path / "t.csv", columns)
        assert (tmp_path / "t.csv").read_bytes() == b'id,el2n,n,"a b"\n"a""b",0.1,1,true\n"=1",1e-08,2,false\n'

    def test_csv_is_read_by_others(self, tmp_path):
        write_table(tmp_path / "t.csv", {"id": AWKWARD, "row": range(len(AWKWARD))})
        with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
            assert [row["id"] for row in csv.DictReader(file)] == AWKWARD

    @pytest.mark.parametrize("name", FORMATS)
    @settings(max_examples=40, deadline=None)
    @example(ids=AWKWARD)
    @given(ids=st.lists(UNICODE, max_size=6))
    def test_ids_come_back(self, folder, name, ids):
        write_table(folder / name, {"id": ids})
        assert read_table(folder / name).columns["id"].tolist() == ids

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("name", FORMATS)
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_floats_come_back_to_the_bit(self, folder, name, dtype, data):
        width = np.dtype(dtype).itemsize * 8
        values = np.array(data.draw(st.lists(st.floats(width=width), min_size=1, max_size=6)), dtype)
        write_table(folder / name, {"x": values})
        same(read_table(folder / name).columns["x"].astype(dtype), values)

    @pytest.mark.parametrize("name", FORMATS)
    def test_equal_input_gives_equal_bytes(self, tmp_path, name):
        columns = {"id": ["b", "a"], "el2n": np.array([0.5, 0.25], np.float32)}
        write_table(tmp_path / name, columns, {"el2n": {"harder": 1, "a": 2}})
        write_table(tmp_path / f"2{name}", columns, {"el2n": {"a": 2, "harder": 1}})
        assert (tmp_path / name).read_bytes() == (tmp_path / f"2{name}").read_bytes()

    def test_metadata_rides_on_parquet(self, tmp_path):
        write_table(tmp_path / "t.parquet", {"id": ["a"], "pred_sum": [3]}, {"pred_sum": {"harder": -1, "unit": "é"}})
        assert read_table(tmp_path / "t.parquet").metadata == {"pred_sum": {"harder": -1, "unit": "é"}}

    @pytest.mark.parametrize("name", FORMATS)
    def test_columns_are_chosen_in_order(self, tmp_path, name):
        write_table(tmp_path / name, {"a": [1], "a.b": [2], "c": [3]})
        chosen = read_table(tmp_path / name, ["c", "a"]).columns
        assert [(key, value.tolist()) for key, value in chosen.items()] == [("c", [3]), ("a", [1])]
        with pytest.raises(InputError, match=r"must be one of a, a\.b, c, got 'cc'\. Did you mean 'c'\?"):
            read_table(tmp_path / name, ["cc"])

    def test_csv_types_are_the_first_that_fit(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text(
            "int,gap,float,bool,zip,long,huge,mixed,none,id\n1,,1,True,007,18446744073709551615,99999999999999999999999,1,,1\n"
            "\n-2,3,.5,false,1,0,1,x,,2\n"
        )
        columns = read_table(path).columns
        assert {name: column.dtype.name for name, column in columns.items()} == {
            "int": "int64", "gap": "float64", "float": "float64", "bool": "bool", "zip": "object",
            "long": "uint64", "huge": "object", "mixed": "object", "none": "object", "id": "object",
        }  # fmt: skip
        assert np.isnan(columns["gap"][0])
        assert columns["bool"].tolist() == [True, False]

    def test_csv_of_other_programs(self, tmp_path):
        (tmp_path / "t.csv").write_bytes('\ufeffid,label\r\n"a,1",cat\r\nb,"do""g"\r\n'.encode())
        columns = read_table(tmp_path / "t.csv").columns
        assert columns["id"].tolist() == ["a,1", "b"]
        assert columns["label"].tolist() == ["cat", 'do"g']

    @pytest.mark.parametrize(
        ("name", "content", "needle"),
        [
            ("a.csv", b"x;label\n1;a\n", r"commas, got ';'"),
            ("a.csv", b"x|label\n1|a\n", r"commas, got '\|'"),
            ("a.csv", b"x\tlabel\n1\ta\n", r"commas, got .*\.tsv"),
            ("a.tsv", b"x,label\n1,a\n", "tabulators, got ','"),
            ("a.csv", "x,label\n1,a\n".encode("utf-16"), "UTF-8, got UTF-16.*iconv"),
        ],
    )
    def test_csv_in_another_form_is_named(self, tmp_path, name, content, needle):
        (tmp_path / name).write_bytes(content)
        for read in (read_table, read_sheet):
            with pytest.raises(InputError, match=needle):
                read(tmp_path / name)

    def test_parquet_of_other_programs(self, tmp_path):
        table = pyarrow.table(
            {
                "label": pyarrow.array([1, None]),
                "name": pyarrow.array(["a", None]).dictionary_encode(),
                "flag": pyarrow.array([True, None]),
                "image": pyarrow.array([{"bytes": b"x"}, None]),
            }
        )
        pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
        columns = read_table(tmp_path / "t.parquet", ["label", "name"]).columns
        same(columns["label"], np.array([1.0, np.nan]))
        assert columns["name"].tolist() == ["a", ""]
        with pytest.raises(InputError, match="flag` must be true or false in every row, got 1 empty"):
            read_table(tmp_path / "t.parquet", ["flag"])
        with pytest.raises(InputError, match="image` must hold numbers or text, got struct"):
            read_table(tmp_path / "t.parquet")

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"a": [1], "b": [1, 2]}, "`columns` must have one length, got {'a': 1, 'b': 2}"),
            ({"a": np.zeros((2, 2))}, r"`a` must be a column, got an array of shape \(2, 2\)"),
            ({"a": ["x", 1]}, "`a` must hold only numbers or only text, got 1 in row 1"),
            ({"a": [1, None]}, "`a` must hold only numbers or only text, got None in row 1"),
            ({"a": [2**70]}, "`a` must hold numbers of at most 64 bits or text, got object"),
            ({"a": np.array([1j])}, "`a` must hold numbers of at most 64 bits or text, got complex128"),
            ({"id": ["b\udcff"]}, r"`id` must be Unicode text, got 'b\\udcff'.*not UTF-8"),
        ],
    )
    @pytest.mark.parametrize("name", FORMATS)
    def test_what_cannot_be_written(self, tmp_path, name, columns, message):
        with pytest.raises(InputError, match=message):
            write_table(tmp_path / name, columns)
        assert not (tmp_path / name).exists()

    def test_unknown_suffix_and_metadata(self, tmp_path):
        with pytest.raises(InputError, match=r"must end in \.parquet or \.csv, got '\.xlsx'"):
            write_table(tmp_path / "t.xlsx", {"a": [1]})
        with pytest.raises(InputError, match="`metadata` must be of columns of the table, got b"):
            write_table(tmp_path / "t.csv", {"a": [1]}, {"b": {}})
        (tmp_path / "t.xlsx").touch()
        with pytest.raises(InputError, match=r"must end in .*\.parquet or \.npy"):
            read_table(tmp_path / "t.xlsx")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", b"", "must begin with a header that names each column once, got an empty file"),
            ("t.csv", b"a,a\n1,2\n", "must begin with a header that names each column once"),
            ("t.csv", b"a,b\n1,2\n3\n", "must have 2 cells in each row, as its header, got 1 in row 2"),
            ("t.csv", b"a\n\xff\xfe\n", "must be a readable CSV file in UTF-8, but: .*can't decode"),
            ("t.csv", b'a\n"x\n', "must be a readable CSV file in UTF-8, but: unexpected end of data"),
            ("t.parquet", b"", "must be a readable Parquet file"),
            ("t.parquet", b"PAR1" + bytes(50) + b"PAR1", "must be a readable Parquet file"),
            ("t.npy", b"x", "must be an npy file"),
        ],
    )
    def test_damaged_files(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            read_table(tmp_path / name)
        assert str(caught.value).startswith(f"`{tmp_path / name}`")
        assert "\n" not in str(caught.value)

    @settings(max_examples=30, deadline=None)
    @given(at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
    def test_a_damaged_parquet_file_gives_an_input_error_or_values(self, folder, at, bit, cut):
        path = folder / "damaged.parquet"
        write_table(path, {"id": ["a", "b"], "x": [1.0, 2.0]}, {"x": {"harder": 1}})
        content = bytearray(path.read_bytes())
        content[at % len(content)] ^= 1 << bit
        path.write_bytes(content[: at % len(content)] if cut else content)
        try:
            read_table(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 either way is right

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match="must be an existing file, got no such file"):
            read_table(tmp_path / "none.csv")
        with pytest.raises(InputError, match="must be an existing file, got no such file"):
            read_table(tmp_path / ("x" * 5000 + ".csv"))
        (tmp_path / "f.csv").mkdir()
        with pytest.raises(InputError, match="must be a file, got a folder"):
            read_table(tmp_path / "f.csv")
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(InputError, match="must be a file, got a device or pipe"):
            read_table(tmp_path / "pipe.csv")

    def test_a_bomb_of_rows_is_refused(self, tmp_path, monkeypatch):
        write_table(tmp_path / "t.parquet", {"a": np.zeros(10_000, np.int8)})
        monkeypatch.setattr(files, "UNPACKED_LIMIT_BYTES", 79_999)
        with pytest.raises(InputError, match=r"must unpack to at most 0\.0 GB, got 10000 rows"):
            read_table(tmp_path / "t.parquet")


class TestSheet:
    @pytest.fixture
    def scores(self, tmp_path):
        write_table(tmp_path / "s.csv", {"id": ["1", "2"], "el2n": [0.5, 1.0], "a:b": [3, 4]})
        return tmp_path / "s.csv"

    @staticmethod
    def read(spec, ids, default=None):
        sheet = read_sheet(spec, default)
        joined = sheet.join(ids, "by")
        return sheet.typed(sheet.wanted(joined.key))[joined.rows].tolist()

    def test_by_name(self, scores):
        assert self.read(f"{scores}:el2n", ["2", "1"]) == [1.0, 0.5]
        assert self.read(f"{scores}:a:b", ["2", "1"]) == [4, 3]

    def test_default_or_the_only_one(self, scores, tmp_path):
        assert self.read(scores, ["1", "2"], default="el2n") == [0.5, 1.0]
        write_table(tmp_path / "one.parquet", {"id": [7, 8], "score": [1, 2]})
        assert self.read(tmp_path / "one.parquet", ["8", "7"], default="el2n") == [2, 1]
        with pytest.raises(InputError, match=r"must be followed by :COLUMN, .*It has the columns id, el2n, a:b\."):
            self.read(scores, ["1", "2"])
        pyarrow.parquet.write_table(pyarrow.table({"id": ["1", "2"], "vector": [[1.0], [2.0]]}), tmp_path / "lists.parquet")
        with pytest.raises(InputError, match=r"followed by :COLUMN, .*id, vector"):
            self.read(tmp_path / "lists.parquet", ["1", "2"], default="el2n")

    def test_npy_and_id_itself(self, scores, tmp_path):
        for values in (np.arange(3), np.arange(3)[:, None]):
            write_npy(tmp_path / "v.npy", values)
            assert self.read(str(tmp_path / "v.npy"), ["a", "b", "c"]) == [0, 1, 2]
        assert self.read(f"{scores}:id", ["a", "b"]) == ["1", "2"]

    def test_a_file_of_the_whole_name_wins(self, scores, tmp_path):
        write_table(tmp_path / "s.csv:el2n.csv", {"x": [9]})
        assert self.read(f"{scores}:el2n.csv", ["a"]) == [9]

    def test_absent(self, scores, tmp_path):
        with pytest.raises(InputError, match=r"got 'el2m'\. Did you mean 'el2n'"):
            read_sheet(f"{scores}:el2m")
        with pytest.raises(InputError, match="must be an existing FILE or FILE:COLUMN, got no such file"):
            read_sheet(f"{tmp_path}/none.csv:el2n")


def npy_bytes(array, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


class TestNpy:
    @pytest.mark.parametrize("mmap", [False, True])
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6.0).reshape(2, 3),
            np.arange(6, dtype=">i4").reshape(2, 3),
            np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
            np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4)),
            np.array(3.0),
            np.zeros((0, 5), np.uint8),
            np.array([True, False]),
            np.array(["ab", "c"]),
        ],
    )
    def test_every_layout_comes_back_native(self, tmp_path, array, mmap):
        np.save(tmp_path / "a.npy", array)
        read = read_npy(tmp_path / "a.npy", mmap=mmap)
        np.testing.assert_array_equal(read, array)
        assert read.shape == array.shape
        assert read.dtype == array.dtype.newbyteorder("=")
        assert read.flags.c_contiguous
        assert read.dtype.isnative

    def test_map_is_read_only(self, tmp_path):
        write_npy(tmp_path / "a.npy", np.arange(4))
        read = read_npy(tmp_path / "a.npy", mmap=True)
        assert isinstance(read, np.memmap)
        assert not read.flags.writeable

    @pytest.mark.parametrize("array", [np.arange(6, dtype=">i4").reshape(2, 3).T, np.array(1.5), np.zeros((3, 0))])
    def test_written_files_are_read_by_numpy(self, tmp_path, array):
        write_npy(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array)
        assert (tmp_path / "a.npy").read_bytes() == npy_bytes(np.array(array, array.dtype.newbyteorder("="), order="C"))

    def test_objects_are_neither_written_nor_unpickled(self, tmp_path):
        with pytest.raises(InputError, match="must be given an array of numbers, got object"):
            write_npy(tmp_path / "a.npy", np.array([{}]))
        np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
        with pytest.raises(
            InputError, match=r"must hold numbers or text \(objects would be unpickled, which can run code\), got dtype object"
        ):
            read_npy(tmp_path / "a.npy")
        (tmp_path / "a.npy").write_bytes(pickle.dumps([1]))
        with pytest.raises(InputError, match="must be an npy file of version 1 or 2"):
            read_npy(tmp_path / "a.npy")
        np.save(tmp_path / "a.npy", np.zeros(2, [("a", "i4")]))
        with pytest.raises(InputError, match="must hold numbers or text"):
            read_npy(tmp_path / "a.npy")

    @pytest.mark.parametrize("mmap", [False, True])
    def test_the_size_must_fit_the_header(self, tmp_path, mmap):
        whole = npy_bytes(np.arange(4))
        for content in (whole[:-1], whole + b"x", whole.replace(b"(4,)", b"(9,)")):
            (tmp_path / "a.npy").write_bytes(content)
            with pytest.raises(InputError, match=r"must have \d+ bytes, as int64 of shape \(\d,\) take, got \d+"):
                read_npy(tmp_path / "a.npy", mmap=mmap)

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ("(10**15,)", "malformed node"),
            ("(1000000000000000,)", r"must have 8000000000000\d+ bytes"),
            ("(-4,)", "no negative numbers"),
            ("(" * 3000 + ")" * 3000, "must be a readable npy file|does not fit"),
        ],
    )
    def test_hostile_headers(self, tmp_path, shape, message):
        text = ("{'descr': '<i8', 'fortran_order': False, 'shape': " + shape + ", }\n").encode()
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(32))
        with pytest.raises(InputError, match=message):
            read_npy(tmp_path / "a.npy")

    def test_a_long_header_is_refused(self, tmp_path):
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + bytes(32))
        with pytest.raises(InputError, match="must have a header of at most 10000 bytes, got 2147483648"):
            read_npy(tmp_path / "a.npy")

    def test_version_2(self, tmp_path):
        (tmp_path / "a.npy").write_bytes(npy_bytes(np.arange(3), version=(2, 0)))
        assert read_npy(tmp_path / "a.npy").tolist() == [0, 1, 2]


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_comes_back(self, tmp_path, save):
        x = np.asfortranarray(np.arange(12, dtype=">u2").reshape(3, 4))
        save(tmp_path / "a.npz", x=x, y=np.array([], np.int64), z=np.array(2.5))
        arrays = read_npz(tmp_path / "a.npz")
        assert sorted(arrays) == ["x", "y", "z"]
        np.testing.assert_array_equal(arrays["x"], x)
        assert arrays["x"].flags.c_contiguous
        assert arrays["x"].dtype == np.uint16
        assert arrays["y"].shape == (0,)
        assert arrays["z"] == 2.5

    def test_a_bomb_is_refused_before_it_is_unpacked(self, tmp_path, monkeypatch):
        np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100_000, np.uint8), y=np.zeros(100_000, np.uint8))
        monkeypatch.setattr(files, "UNPACKED_LIMIT_BYTES", 150_000)
        monkeypatch.setattr(zipfile.ZipFile, "open", None)
        with pytest.raises(InputError, match=r"must unpack to at most 0\.0 GB, got 0\.0 GB\. Save \.npy files"):
            read_npz(tmp_path / "a.npz")

    @pytest.mark.parametrize("content", [npy_bytes(np.arange(4))[:-1], npy_bytes(np.arange(4)).replace(b"(4,)", b"(9,)")])
    def test_a_member_of_another_size_is_refused(self, tmp_path, content):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", content)
        with pytest.raises(InputError, match=r"a\.npz:x\.npy` must have \d+ bytes, as int64"):
            read_npz(tmp_path / "a.npz")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize(
        ("names", "method"),
        [(["x.txt"], zipfile.ZIP_STORED), (["x.npy", "x.npy"], zipfile.ZIP_STORED), (["x.npy"], zipfile.ZIP_LZMA)],
    )
    def test_other_members_are_refused(self, tmp_path, names, method):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            for name in names:
                archive.writestr(name, npy_bytes(np.arange(4)))
        with pytest.raises(InputError, match="must be an npy array, named once, stored or deflated"):
            read_npz(tmp_path / "a.npz")

    def test_objects_are_not_unpickled(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.array([{}]))
        with pytest.raises(InputError, match=r"a\.npz:x\.npy` must hold numbers or text .*got dtype object"):
            read_npz(tmp_path / "a.npz")

    def test_a_flipped_bit_and_no_archive(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.arange(100))
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match="must be a readable npz file, but: Bad CRC-32"):
            read_npz(tmp_path / "a.npz")
        (tmp_path / "a.npz").write_bytes(b"x")
        with pytest.raises(InputError, match="must be a readable npz file, but: File is not a zip file"):
            read_npz(tmp_path / "a.npz")


class TestLines:
    @settings(max_examples=50, deadline=None)
    @example(lines=AWKWARD)
    @example(lines=["\ufeff"])
    @example(lines=[""])
    @given(lines=st.lists(UNICODE | st.text("\\nr\n\r", max_size=6), max_size=6))
    def test_come_back(self, folder, lines):
        write_lines(folder / "t.txt", lines)
        written = (folder / "t.txt").read_bytes()
        meant = {"\\": "\\", "n": "\n", "r": "\r"}
        texts = written.decode("utf-8-sig").split("\n")[:-1]
        assert [re.sub(r"\\([\\nr])", lambda match: meant[match[1]], text) for text in texts] == lines
        assert written.count(b"\n") == len(lines)

    def test_by_hand(self, tmp_path):
        write_lines(tmp_path / "t.txt", ["a\nb", "c\\d", "e\r"])
        assert (tmp_path / "t.txt").read_bytes() == b"a\\nb\nc\\\\d\ne\\r\n"

    def test_not_unicode(self, tmp_path):
        with pytest.raises(InputError, match="must be Unicode text"):
            write_lines(tmp_path / "t.txt", ["\udcff"])
