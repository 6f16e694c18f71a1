"""The parts of a scoring job: which there are, whether they can be scored, and which are finished already.

A part is one input file and the output file that it becomes. The output's metadata records what its scores were made
from, so that a repeated command takes up an interrupted job and never keeps what another model or input gave.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data import stores
from rerank.errors import UserError
from rerank.serve.texts import check_texts, is_text

SCORE = "score"
METADATA_KEY = b"rerank.score"
# Footers are read side by side: each one in a bucket takes a few requests.
FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class Recipe:
    """What decides the scores besides the rows; ``model`` is a hash of all files that the model is loaded from."""

    context_column: str
    text_column: str
    model: str
    precision: str
    engine: str


@dataclass(frozen=True)
class Part:
    """The addresses of an input file and of its output; ``version`` is the input's, see `stores.version`."""

    source: str
    target: str
    version: str
    rows: int

    def made_from(self, recipe: Recipe) -> dict[str, str]:
        """Return what the part's output records about itself."""
        return {**asdict(recipe), "input": self.version}


def _footer(address: str) -> tuple[int, pa.Schema]:
    """Return the rows and the schema of a parquet file."""
    with stores.opened(address) as stream:
        try:
            file = pq.ParquetFile(stream)
            return file.metadata.num_rows, file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            words = str(error).splitlines()[0]
            raise UserError(f"{address}: not a readable parquet file ({words}): write it again") from None


def _rows(source: str, *, context_column: str, text_column: str) -> int:
    rows, schema = _footer(source)
    for option, column in (("--context-column", context_column), ("--text-column", text_column)):
        if column not in schema.names:
            found = ", ".join(schema.names)
            raise UserError(f"{source}: column '{column}' is missing (it has {found}): set {option}")
        if schema.names.count(column) > 1:
            raise UserError(f"{source}: column '{column}' is there {schema.names.count(column)} times: drop the others")
        kind = schema.field(column).type
        if rows and not is_text(kind):
            raise UserError(f"{source}: column '{column}' holds {kind}, not text: write it as text, or set {option}")
    if SCORE in schema.names:
        raise UserError(f"{source}: column '{SCORE}' is there already: rename or drop it")
    return rows


def _place(address: str) -> PurePosixPath:
    """Return one spelling of an address, links followed."""
    return PurePosixPath(Path(address).resolve() if stores.is_local(address) else address)


def _is_inside(address: str, folder: str) -> bool:
    return _place(address).is_relative_to(_place(folder))


def _are_one(source: str, target: str) -> bool:
    """Whether two addresses lead to one file."""
    if _place(source) == _place(target):
        return True
    paths = (Path(source), Path(target))
    return (
        all(map(stores.is_local, (source, target))) and all(p.exists() for p in paths) and paths[0].samefile(paths[1])
    )


def _addresses(pairs: str, output: str) -> list[tuple[str, str, str]]:
    """Return source, target and version of every part."""
    parent = Path(output).parent
    if stores.is_local(output) and not parent.is_dir():
        raise UserError(f"{output}: the folder {parent} does not exist: create it, or give another --output")
    if stores.is_file(pairs):
        if stores.is_local(output) and Path(output).is_dir():
            raise UserError(f"{output}: is a folder: give the path of a file as --output")
        return [(pairs, output, stores.version(pairs))]
    versions, _ = stores.parquet_files(pairs)
    if not versions:
        raise UserError(f"{pairs}: no such file, nor a folder that holds .parquet files: --pairs takes either")
    if stores.is_file(output):
        raise UserError(f"{output}: is a file: give a folder as --output, for the parts of {pairs}")
    if _is_inside(output, pairs) or _is_inside(pairs, output):
        raise UserError(f"{output}: lies within --pairs, or around it: give another --output")
    for name in stores.parquet_files(output)[0].keys() - versions.keys():
        raise UserError(f"{output}: {name} has no counterpart in {pairs}: delete it, or give another --output")
    pairs, output = pairs.rstrip("/"), output.rstrip("/")
    return [(f"{pairs}/{name}", f"{output}/{name}", version) for name, version in versions.items()]


def left_out(pairs: str) -> list[str]:
    """Return the names of the files in the folder ``pairs`` that are no part, see `rerank.data.formats`."""
    return [] if stores.is_file(pairs) else stores.parquet_files(pairs)[1]


def find_parts(pairs: str, output: str, *, context_column: str, text_column: str) -> list[Part]:
    """Return the parts of ``pairs``, a parquet file or a folder of them, which ``output`` is a file or a folder for.

    Args:
        pairs, output: paths or s3:// addresses, which may not be one file, nor lie within each other.

    Raises:
        UserError: when there is no part, one can't be read, lacks a column of texts or has one named like the scores,
            or ``output`` can't be written, is the input itself or holds parts that ``pairs`` does not.
    """

    def part(addresses: tuple[str, str, str]) -> Part:
        source, target, version = addresses
        return Part(source, target, version, _rows(source, context_column=context_column, text_column=text_column))

    addresses = _addresses(pairs, output)
    for source, target, _ in addresses:
        if _are_one(source, target):
            raise UserError(f"{target}: is {source} itself, which would be overwritten: give another --output")
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
        return list(threads.map(part, addresses))


def check_parts(parts: Sequence[Part], *, context_column: str, text_column: str) -> None:
    """Check that every row of the parts has both texts, see `check_texts`."""
    columns = list(dict.fromkeys((context_column, text_column)))
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
        list(threads.map(lambda part: check_texts(part.source, columns), parts))


def _recorded(part: Part) -> Mapping[str, str] | None:
    """Return what the part's output says that it was made from; None when it says nothing, or there is none."""
    try:
        record = (_footer(part.target)[1].metadata or {}).get(METADATA_KEY)
    except UserError:
        return None
    return {"engine": "torch", **json.loads(record)} if record else None  # the only one, when none was recorded


def unfinished(parts: Iterable[Part], recipe: Recipe, *, replace: bool) -> tuple[list[Part], Counter[str]]:
    """Return the parts that are still to be scored, and how many of them were scored with another model, input, ….

    Args:
        replace: whether other files may lie where outputs belong.

    Raises:
        UserError: when one does and may not.
    """

    def look(part: Part) -> tuple[bool, Mapping[str, str] | None]:
        there = stores.is_file(part.target)
        return there, _recorded(part) if there else None

    parts = list(parts)
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
        found = list(threads.map(look, parts))
    missing, changes = [], Counter[str]()
    for part, (there, record) in zip(parts, found, strict=True):
        if there and record is None and not replace:
            raise UserError(f"{part.target}: was not written by this command: give another --output, or delete it")
        differences = [key for key, value in part.made_from(recipe).items() if record and record.get(key) != value]
        if record is None or differences:
            missing.append(part)
        changes.update(differences)
    return missing, changes
