"""Columns, arrays and texts in Parquet, CSV, npy and text files."""

from dataprune.tables.columns import READABLE, Sheet, Table, column_names, read_sheet, read_table, split_spec, write_table
from dataprune.tables.files import TABLES, check_output, write_lines
from dataprune.tables.npy import VECTOR_SUFFIXES, read_npy, read_npz, write_npy, write_vectors
