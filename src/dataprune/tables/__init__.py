"""How do columns and arrays get in and out of Parquet, CSV, npy and text files?"""

from dataprune.tables.columns import Table, column_names, read_column, read_table, split_spec, write_table
from dataprune.tables.lines import read_lines, write_lines
from dataprune.tables.npy import read_npy, read_npz, write_npy
from dataprune.tables.vectors import write_vectors

__all__ = [
    "Table",
    "column_names",
    "read_column",
    "read_lines",
    "read_npy",
    "read_npz",
    "read_table",
    "split_spec",
    "write_lines",
    "write_npy",
    "write_table",
    "write_vectors",
]
