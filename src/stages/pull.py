"""Fetch a source as it is, unpacked: from a path, an archive, the web or a bucket.

It is the only stage that knows where tables come from, so everything after it never needs a network. The address comes
as a param, never through a shell.
"""

from pathlib import Path

from rerank.command import run
from rerank.data.fetch import fetch
from rerank.data.shapes import shape_of
from rerank.errors import UserError
from rerank.files import replacing
from rerank.params import Pull
from rerank.params_file import declared


def main(*, param: str, raw: Path) -> None:
    """Write the folder ``raw`` with the tables of the source that ``param`` (source, documents) names."""
    params = declared(Pull, "pull")
    source = params.model_dump().get(param)
    if not source:
        raise UserError(f"--param: {param!r} is no param with an address that dvc.yaml declares: give source")
    with replacing(raw) as partial:
        up_to = shape_of(params.shape).up_to
        fetched = fetch(source, partial, max_bytes=int(params.max_source_gb * 1e9), up_to=up_to)
    print(fetched.words(source))


if __name__ == "__main__":
    run(main)
