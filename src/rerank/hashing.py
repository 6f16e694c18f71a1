"""The SQL expressions by which users and pairs are chosen, split and sorted, shared by the stages sample and split.

Every choice follows from the seed and the ids alone, through MD5: no row order, no other user, and no version of the
engine can change it (DuckDB's own ``hash`` may change between versions). Each purpose has its own prefix, so which
users stay says nothing about which of them are test users.
"""

HEX_DIGITS = 8


def user_order(seed: int) -> str:
    """Return the SQL text by which users are ordered before ``max_users`` cuts them; reads ``user_id``."""
    return f"md5('user|{seed}|' || user_id)"


def pair_order(seed: int) -> str:
    """Return the SQL text by which the pairs of one user are ordered; reads ``user_id`` and ``book_id``."""
    return f"md5('pair|{seed}|' || user_id || '|' || book_id)"


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


def _threshold(share: float) -> str:
    """Return the hex digits below which the share 0 <= share < 1 of all hashes lies."""
    return f"{int(share * 16**HEX_DIGITS):0{HEX_DIGITS}x}"
