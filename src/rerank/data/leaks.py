r"""Finding the pairs whose answer stands in the question: the book's title as a whole favourite of the context.

A pair leaks when its title equals one of the context's favourites, apart from case, accents, punctuation and what
follows in brackets (series, editions). Only whole titles are equal: a favourite "Dune" does not leak "Dune: Messiah",
and so "Sapiens" does not leak "Sapiens: A Brief History of Humankind", since nothing in the two texts tells a subtitle
from a sequel. No other row of the table decides: a block of it gives what the whole gives.

Where a favourite ends follows from the form of the list:

- Newline, "|", ";" and "•" always separate. Where an author follows (" by "), the title is what stands before: the
  author ends at the next ";", "," or " and ", so that in "Emma by Jane Austen and Crime and Punishment by ..." the
  second title is whole; several authors end at the "," after them too. A "by" without any of these signs up to the
  next "by" belongs to the title ("Stand by Me by ..."); so do all but the last where one favourite is all that stands
  between two ";" ("Bird by Bird: Some Instructions on Writing and Life by ...").
- "," and the last " and " separate only in a list without authors and ";", and " and " only after a ",": in "Dune, It
  and Emma" are three; "Crime and Punishment" is one. Of several lines each is one favourite, unless a heading opens it.
- What stands in double quotation marks between two of these signs is a favourite: not "It" in A Child Called "It".
- A heading ("Favorite books:") opens a line; the line's first favourite is looked for with and without it.

Where two readings are possible, both count. In SQL a context is first written with one sign for each separator,
``favorite books:tao te ching@lao tzu+emma@jane austen``, in which ``@`` is "by" and ``+`` is "and".
"""

from rerank.data.sql import literal

# (RE2 pattern, replacement), applied in this order to lower-case text without accents.
Rewrites = tuple[tuple[str, str], ...]
BOTH: Rewrites = (
    (r"[\t\pZ]+", " "),
    # Brackets after a word: series and editions.
    (r"([^ \r\n|;:,]) ?(?:(?:\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\]) ?)+", r"\1 "),
    (r"([\pL\pN])['’ʼ`]([\pL\pN])", r"\1\2"),  # ender's → enders
    (r"(\pN)[,.](\pN)", r"\1 \2"),  # 1,000 places
)
TITLE: Rewrites = (
    (r"&", " and "),
    (r"[^\pL\pN]+", " "),
)
CONTEXT: Rewrites = (
    (r"[\r\n|]+ *", "|"),
    (r"(^|\|) ?(?:[-–—*•·]|\d{1,3}[.)]) ", r"\1;"),  # list items
    (r"[;；•]", ";"),
    (r"[:：]", ":"),
    (r", ?([js]r\b)", r" \1"),
    (r"[,，、]", ","),
    (r"[\"“”„«»《》「」『』]", '"'),
    (r"[^\pL\pN|;:,&\"]+", " "),
    (r"&|\band\b", "+"),
    (r"\bby\b", "@"),
    (r' ?([|;:,+@"]) ?', r"\1"),
    (r"(^|[|;:])@", r"\1by "),  # by the river piedra
    (r"(^|\|)([^|;:,+@]*)@([^|;:,+@]*):", r"\1\2 by \3:"),  # a heading: books liked by this reader
    *2 * ((r"@([^|;,+@]+)@", r" by \1@"),),  # stand by me
)
# The author up to the first "," of names joined by "and"; up to the first "," or "and"; after the last "by" alone.
NAMES: Rewrites = ((r"@[^|;,@]*,", ";"),)
AUTHOR: Rewrites = ((r"@[^|;,+@]*[,+]*", ";"),)
LAST_AUTHOR: Rewrites = ((r"@[^|;@]*([|;]|$)", r"\1"),)
JOINED_NAMES = r"@[^|;,+@]*\+[^|;,@]*,"
# A line's first favourite after a heading that ends at the first or at the last ":".
FIRST_FAVOURITES = (r"(?:^|\|)[^|;:]*:([^|;]+)", r"(?:^|\|)[^|;]*:([^|;:]+)")
# In quotation marks between two signs, which are doubled because each may stand between two favourites.
DOUBLED: Rewrites = ((r"[|;:,+@]", r"\0\0"),)
QUOTED = r'(?:^|[|;:,+])"([^"|]+)"(?:$|[|;:,+@])'
WORDS: Rewrites = (
    (r"\++", " and "),
    (r"@+", " by "),
    (r"[ ,:\"]+", " "),
    (r" ?[|;] ?", ";"),
)


def _rewritten(text: str, rewrites: Rewrites) -> str:
    for pattern, replacement in rewrites:
        text = f"regexp_replace({text}, {literal(pattern)}, {literal(replacement)}, 'g')"
    return text


def _joined(lines: str) -> str:
    return f"array_to_string({lines}, '|')"


def _extracted(text: str, pattern: str) -> str:
    return f"array_to_string(regexp_extract_all({text}, {literal(pattern)}, 1), ';')"


def named_title(text: str, title_pattern: str) -> str:
    """Return the SQL expression for the title in a book's text as it stands there; empty where there is none.

    Args:
        text: an SQL expression.
        title_pattern: an RE2 regular expression whose first group is the title.
    """
    return f"trim(regexp_extract({text}, {literal(title_pattern)}, 1))"


def title(text: str, title_pattern: str) -> str:
    """Return the SQL expression for the title's words, to be compared with `favourites`; NULL where there are none.

    Args: see `named_title`.
    """
    words = _rewritten(f"strip_accents(lower({named_title(text, title_pattern)}))", BOTH + TITLE)
    return f"nullif(trim({words}), '')"


def favourites(rows: str) -> str:
    """Return the query for the favourites (``number``, ``favourite``) of contexts, by their words, each once.

    Args:
        rows: a query that gives ``number`` and ``context``.
    """
    signs = _rewritten("strip_accents(lower(context))", BOTH + CONTEXT)
    weak = (
        "list_filter(lines, lambda line: contains(line, ',') AND NOT contains(line, ';') AND NOT contains(line, '@') "
        "AND (len(lines) = 1 OR contains(line, ':')))"
    )
    unquoted = _rewritten("line", ((r'(^|[|:,+])"[^"]*"', r"\1"),))
    by_comma = f"replace(replace({unquoted}, ',+', ','), ',', ';')"
    by_last_and = _rewritten(by_comma, ((r"[+]([^;+]*)$", r";\1"),))
    joined_names = f"regexp_matches(signs, {literal(JOINED_NAMES)})"
    readings = (
        "signs",
        f"CASE WHEN contains(signs, '@') THEN {_rewritten('signs', AUTHOR)} END",
        f"CASE WHEN contains(signs, '@') THEN {_rewritten('signs', LAST_AUTHOR)} END",
        f"CASE WHEN {joined_names} THEN {_rewritten('signs', NAMES + AUTHOR)} END",
        _joined(f"list_transform({weak}, lambda line: {by_comma})"),
        _joined(
            f"list_transform(list_filter({weak}, lambda line: NOT contains(line, ',+')), lambda line: {by_last_and})"
        ),
        f"CASE WHEN contains(signs, '\"') THEN {_extracted(_rewritten('signs', DOUBLED), QUOTED)} END",
    )
    every = ("read", *(_extracted("read", pattern) for pattern in FIRST_FAVOURITES))
    return f"""
        SELECT DISTINCT number, trim(unnest(string_split({_rewritten("every", WORDS)}, ';'))) AS favourite
        FROM (SELECT number, concat_ws('|', {", ".join(every)}) AS every
              FROM (SELECT number, concat_ws('|', {", ".join(readings)}) AS read
                    FROM (SELECT number, signs, string_split(signs, '|') AS lines
                          FROM (SELECT number, {signs} AS signs FROM ({rows})))))"""
