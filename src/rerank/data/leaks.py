"""Finding the pairs whose answer stands in the question: the book's title in the reader's own context.

Both sides become one text of parts between bars, so that a title is found as a whole part or not at all:
"Dune (Dune, #1) by Frank Herbert; It" becomes ``|dune|by|frank herbert|it|``, and "It" is not in "It Ends with Us".
A subtitle follows ``|:|``. A context leaks a title when it names the whole of it, or its main title alone; the same
main title before another subtitle is another book ("The Lord of the Rings: The Two Towers" is no leak of "The Lord of
the Rings: The Return of the King").
"""

SUBTITLE = "|:|"
# (RE2 pattern, replacement), applied in this order to lower-case text without accents.
REWRITES = (
    (r"\([^()]*\)|\[[^\[\]]*\]|[\t\pZ]", " "),  # series and editions in brackets
    (r"([\pL\pN])['’ʼ`]([\pL\pN])", r"\1\2"),  # ender's → enders; other quotation marks separate
    (r"\b(\pL)\.", r"\1 "),  # initials: j.k. → j k
    (r"(^|[\r\n]) *[-–—*•]+ ", "|"),  # list items
    (r" *: *| [-–]+ | *— *|[,;] or\b,?| or, ", SUBTITLE),
    (r"[-‐‑–]", " "),
    (r"\bby\b", "|by|"),
    (r"\band\b|&", "|"),
    (r"[^\pL\pN: ]+", "|"),
    (r" +", " "),
    (r"[ |]*\|[ |]*", "|"),
)


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def parts(text: str) -> str:
    """Return the SQL expression for a text as parts between bars; NULL where no letter or digit is left.

    Args:
        text: an SQL expression.
    """
    expression = f"strip_accents(lower({text}))"
    for pattern, replacement in REWRITES:
        expression = f"regexp_replace({expression}, {literal(pattern)}, {literal(replacement)}, 'g')"
    return f"'|' || nullif(trim({expression}, ' |:'), '') || '|'"


def title_parts(text: str, title_pattern: str) -> str:
    """Return the SQL expression for the `parts` of the title in a book's text; NULL where the pattern finds none.

    Args:
        text: an SQL expression.
        title_pattern: an RE2 regular expression whose first group is the title.
    """
    return parts(f"regexp_extract({text}, {literal(title_pattern)}, 1)")


def main_title(title: str) -> str:
    """Return the SQL expression for the `title_parts` before the subtitle, or the whole when there is none."""
    return f"rtrim(split_part({title}, {literal(SUBTITLE)}, 1), '|') || '|'"


def single_parts(text: str) -> str:
    """Return the SQL expression for the list of a text's single parts, among them empty ones.

    Args:
        text: an SQL expression of `parts`.
    """
    return f"string_split({text}, '|')"


def first_part(title: str) -> str:
    """Return the SQL expression for the first single part of `title_parts`: a context without it doesn't leak them."""
    return f"split_part({title}, '|', 2)"


def leaked(context: str, title: str, main: str) -> str:
    """Return the SQL condition that a context names a title; NULL where one of the three is NULL.

    Args:
        context: an SQL expression of `parts`.
        title: an SQL expression of `title_parts`.
        main: an SQL expression of `main_title`.
    """
    without_other_subtitles = f"replace({context}, {main} || ':|', {literal(SUBTITLE)})"
    return f"(contains({context}, {title}) OR {main} <> {title} AND contains({without_other_subtitles}, {main}))"
