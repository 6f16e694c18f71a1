"""Give the judgments of a search set the texts of their documents: candidate lists that can be ranked."""

import tempfile
from pathlib import Path

import duckdb

from rerank.command import run
from rerank.data.formats import left_out
from rerank.data.joining import join
from rerank.data.judgments import read_documents, read_judgments
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.params import Join
from rerank.params_file import declared

MEMORY_LIMIT = "4GB"


def main(*, judgments: Path, documents: Path, judged: Path, metrics: Path) -> None:
    """Write test.parquet, sorted by query and document, and counts.json to the folder ``judged``."""
    params = declared(Join, "join")
    with replacing(judged) as partial, tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill:
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        read_judgments(
            connection,
            judgments,
            user_column=params.user_column,
            context_column=params.context_column,
            book_column=params.book_column,
            label_column=params.label_column,
            max_grade=params.max_grade,
        )
        read_documents(
            connection, documents, document_id_column=params.document_id_column, text_columns=params.text_columns
        )
        counts = join(connection)
        partial.mkdir()
        connection.sql("SELECT * FROM judged ORDER BY user_id, book_id").write_parquet(
            str(partial / "test.parquet"), compression="zstd"
        )
        write_json(partial / "counts.json", counts)
    found = counts["judged"]
    others = left_out(judgments) + left_out(documents)
    write_json(
        metrics, {"rows": found["rows"], "queries": found["queries"], **({"left_out": others} if others else {})}
    )


if __name__ == "__main__":
    run(main)
