"""Turn the tables of a source into parquet files of pairs, so that every stage after it reads one kind of file."""

from pathlib import Path

from rerank.command import run
from rerank.data.conversion import convert
from rerank.data.shapes import OPTIONAL, check_taken, shape_of
from rerank.data.shaping import shape
from rerank.data.source_tables import Shaping
from rerank.files import replacing
from rerank.params import Convert
from rerank.params_file import declared


def main(*, raw: Path, tables: Path) -> None:
    """Read the folder ``raw`` and write the folder ``tables``."""
    params = declared(Convert, "convert")
    quotes = {"csv_quote": params.csv_quote, "tsv_quote": params.tsv_quote}
    check_taken(params.shape, params.model_dump(include=set(OPTIONAL)))
    with replacing(tables) as partial:
        if shape_of(params.shape).maker is None:
            words = convert(raw, partial, **quotes).words(tables)
        else:
            how = Shaping.from_params(params)
            words = shape(raw, partial, name=params.shape, how=how, **quotes)
    print(*words, sep="\n")


if __name__ == "__main__":
    run(main)
