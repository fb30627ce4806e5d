"""Known row formats to comparisons and back, detection, quarantine of bad rows."""

from assent.readers.detection import detect
from assent.readers.formats import FORMATS
from assent.readers.reading import ReadResult, read
from assent.readers.row_format import RowFormat
from assent.readers.writing import read_parquet, to_trl, to_trl_unpaired, write_jsonl, write_parquet, write_rows

__all__ = [
    "FORMATS",
    "ReadResult",
    "RowFormat",
    "detect",
    "read",
    "read_parquet",
    "to_trl",
    "to_trl_unpaired",
    "write_jsonl",
    "write_parquet",
    "write_rows",
]
