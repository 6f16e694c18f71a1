"""Texts from elsewhere in Markdown: none of them can break out of its cell, name a person or hide what it is."""

import re
from html import escape

SIGNS = frozenset("\\|<>*_`[]~$&")
# GitHub makes links of @name and #12, and tells the person; a word joiner after the sign keeps it a sign.
LINKS = frozenset("@#")
JOINER = "\u2060"
# What GitHub makes a link of without any sign: addresses, and GH-12.
ADDRESSES = re.compile(r"(?:https?:|ftp:|mailto:|xmpp:|www(?=\.)|gh(?=-\d))", re.IGNORECASE)


def shown(text: str) -> str:
    """Return a text of one line; what does not print, such as ESC or a change of direction, is shown by its code."""
    letters = (
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in " ".join(text.split())
    )
    return "".join(letters)


def _linking_nobody(text: str) -> str:
    apart = ADDRESSES.sub(lambda found: found[0] + JOINER, shown(text))
    return "".join(letter + JOINER if letter in LINKS else letter for letter in apart)


def escaped(text: str) -> str:
    """Return a text as Markdown that shows it in one line."""
    return "".join("\\" + letter if letter in SIGNS else letter for letter in _linking_nobody(text))


def escaped_html(text: str) -> str:
    """Return a text as HTML within Markdown that shows it in one line: in a tag, Markdown's signs mean nothing."""
    return escape(_linking_nobody(text))
