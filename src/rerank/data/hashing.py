"""The SQL expressions by which users and pairs are chosen, split and sorted, shared by the stages sample and split.

Every choice follows from the seed and the ids alone, through MD5: no row order, no other user, and no version of the
engine can change it (DuckDB's own ``hash`` may change between versions). Each purpose has its own prefix, so which
users stay says nothing about which of them are test users. A pair's place follows from 64 bits of its user's MD5 and
64 of its book's, mixed: an MD5 of every pair would take as long as everything else in the sample.
"""

HEX_DIGITS = 8
# A generator that multiplies with carry, MWC64X: https://cas.ee.ic.ac.uk/people/dt10/research/rngs-gpu-mwc64x.html.
# Its products of two 32-bit numbers, with the carry added, stay below 2^64.
MULTIPLIER = 4_294_883_355
LOW_HALF = 2**32 - 1
ROUNDS = 4


def user_order(seed: int) -> str:
    """Return the SQL text by which users are ordered before ``max_users`` cuts them; reads ``user_id``."""
    return f"md5('user|{seed}|' || user_id)"


def user_of_pair(seed: int) -> str:
    """Return the SQL UBIGINT that `mix` takes for the user: the MD5's first 8 bytes, little-endian."""
    return f"md5_number_upper('user of pair|{seed}|' || user_id)"


def book_of_pair(seed: int) -> str:
    """Return the SQL UBIGINT that `mix` takes for the book: the MD5's first 8 bytes, little-endian."""
    return f"md5_number_upper('book of pair|{seed}|' || book_id)"


def mix(user: str, book: str) -> str:
    """Return the SQL UBIGINT by which the pairs of one user are ordered, from `user_of_pair` and `book_of_pair`.

    From x = ``book``, `ROUNDS` times: x = x xor ``user``; x = (x mod 2^32) * MULTIPLIER + floor(x / 2^32). Fewer than
    three rounds let two users with different hashes prefer the same books.
    """
    mixed = book
    for _ in range(ROUNDS):
        mixed = f"xor({mixed}, {user})"
        mixed = f"(({mixed} & {LOW_HALF}) * {MULTIPLIER} + ({mixed} >> 32))"
    return mixed


def pair_order(seed: int) -> str:
    """Return the SQL UBIGINT by which the pairs of one user are ordered; reads ``user_id`` and ``book_id``."""
    return mix(user_of_pair(seed), book_of_pair(seed))


def split_name(seed: int, *, validation_share: float, test_share: float) -> str:
    """Return the SQL text 'train', 'validation' or 'test'; reads ``user_id`` alone.

    The two shares are of all users and sum to less than 1. A changed ``validation_share`` leaves the test users as
    they are.
    """
    digits = f"left(md5('split|{seed}|' || user_id), {HEX_DIGITS})"
    return (
        f"CASE WHEN {digits} < '{_threshold(test_share)}' THEN 'test' "
        f"WHEN {digits} < '{_threshold(test_share + validation_share)}' THEN 'validation' ELSE 'train' END"
    )


def is_cold(seed: int, *, cold_books_share: float) -> str:
    """Return the SQL condition that a book is kept out of training; reads ``book_id`` alone.

    A larger share, 0 to 1, only adds books.
    """
    return f"left(md5('cold|{seed}|' || book_id), {HEX_DIGITS}) < '{_threshold(cold_books_share)}'"


def _threshold(share: float) -> str:
    """Return the hex digits below which the share 0 <= share < 1 of all hashes lies."""
    return f"{int(share * 16**HEX_DIGITS):0{HEX_DIGITS}x}"
