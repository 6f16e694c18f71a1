"""Which file of a source a parquet file was made from, kept in the parquet file itself, for messages."""

import pyarrow as pa

KEY = b"made from"


def marked(schema: pa.Schema, name: str) -> pa.Schema:
    """Return the schema of a table that is made from the file called ``name``."""
    return schema.with_metadata({**(schema.metadata or {}), KEY: name.encode("utf-8", "surrogateescape")})


def origin(schema: pa.Schema) -> str | None:
    """Return the name of the file that a table was made from, None where it was a parquet file."""
    name = (schema.metadata or {}).get(KEY)
    return None if name is None else name.decode("utf-8", "surrogateescape")
