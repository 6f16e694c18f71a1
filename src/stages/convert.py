"""Turn the tables of a source into parquet files, so that every stage after it reads one kind of file."""

from pathlib import Path

from rerank.command import run
from rerank.data.conversion import convert
from rerank.files import replacing
from rerank.params import Convert
from rerank.params_file import declared


def main(*, raw: Path, tables: Path) -> None:
    """Read the folder ``raw`` and write the folder ``tables``."""
    params = declared(Convert, "convert")
    with replacing(tables) as partial:
        converted = convert(raw, partial, csv_quote=params.csv_quote, tsv_quote=params.tsv_quote)
    print(*converted.words(tables), sep="\n")


if __name__ == "__main__":
    run(main)
