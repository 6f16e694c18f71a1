"""A leak is the same title as a whole favourite: what lists of favourites look like, and what is none."""

import duckdb
import pytest

from rerank.data import leaks
from rerank.data.sql import literal

TITLE_PATTERN = r"^Title: ([^|]+)"
TOLKIEN = "The Lord of the Rings"
PUBLISHED = "Favorite books: Tao Te Ching by Lao Tzu and The Silmarillion by J.R.R. Tolkien, Emma by Jane Austen"
WEAK = "Favorite books: The Road, Crime and Punishment, Dune and It"
ENDS = f"Favorite books: The Old Man and the Sea by Ernest Hemingway; {TOLKIEN}: The Two Towers by Tolkien"


def leaked(title: str, context: str | None) -> bool:
    """Whether the rule finds the title of a book's text in a context."""
    text = literal(f"Title: {title} | Genres: x")
    rows = f"SELECT 1 AS number, {'NULL::VARCHAR' if context is None else literal(context)} AS context"
    query = f"FROM ({leaks.favourites(rows)}) WHERE favourite = {leaks.title(text, TITLE_PATTERN)}"
    return bool(duckdb.connect().execute(query).fetchall())


@pytest.mark.parametrize(
    ("title", "context"),
    [
        ("It", "Favorite books: It by Stephen King; Dune by Frank Herbert"),
        ("It", "Dune, It and Emma"),
        ("Dune (Dune, #1)", "Favorite books: Dune by Frank Herbert"),
        ("Dune", "Favorite books: Dune (Dune Chronicles #1) by Frank Herbert"),
        ("Dune (Dune, #1) (Paperback)", "Favorite books: Emma; Dune (1965) [first edition]"),
        ("Sapiens - A Brief History of Humankind", "Sapiens: A Brief History of Humankind"),
        (f"{TOLKIEN}: The Fellowship of the Ring", f"{TOLKIEN}: The Fellowship of the Ring"),
        ("The Fellowship of the Ring", f"{TOLKIEN}: The Fellowship of the Ring"),  # or a heading
        (TOLKIEN, f"{TOLKIEN}: The Two Towers; {TOLKIEN} by Tolkien"),
        ("Pride and Prejudice", "likes: Pride & Prejudice, Emma"),
        ("Eats, Shoots & Leaves", "Emma; Eats, Shoots and Leaves by Lynne Truss"),
        ("Stand by Me", "Favorite books: Stand by Me by Someone"),
        ("Stand by Me", "Favorite books: Emma; Stand by Me"),
        ("Bird by Bird: On Writing and Life", "Favorite books: Emma; Bird by Bird: On Writing and Life by Anne Lamott"),
        ("By the River", "Favorite books: By the River by Paulo Coelho; Emma, by Jane Austen"),
        ("Emma", "Favorite books: By the River by Paulo Coelho; Emma, by Jane Austen"),
        ("S.", "Favorite books: S. by J.J. Abrams"),
        ("Ender's Game", "I read Emma and “Ender’s Game”."),
        ("Les Misérables", "LES MISERABLES by Victor Hugo"),
        ("Les Mise\u0301rables", "Les Misérables by Victor Hugo"),
        ("Dune", "Favourites:\n- Emma\n- Dune\n- It"),
        ("Eat, Pray, Love", "Favourites:\n1. Emma\n2. Eat, Pray, Love"),
        ("Emma", "Likes fantasy. Favorite books: Emma; Dune"),
        ("Emma", "Age: 30 | Favorite books: Emma, Dune | Country: Peru"),
        ("Emma", "Books liked by this reader: Dune, Emma and It"),
        ("Emma", 'Favorite books: "Eat, Pray, Love", "Emma" and "It"'),
        ("Emma", 'Favorite books: "Eat, Pray, Love"; "Emma" by Jane Austen'),
        ("Emma", "['Dune', 'Emma']"),
        ("Harry Potter", "Good Omens by Terry Pratchett and Neil Gaiman, Harry Potter by J.K. Rowling"),
        ("Tao Te Ching", PUBLISHED),
        ("The Silmarillion", PUBLISHED),
        ("Emma", PUBLISHED),
        ("Crime and Punishment", "Emma by Jane Austen and Crime and Punishment by Fyodor Dostoevsky"),
        ("The Road", WEAK),
        ("Crime and Punishment", WEAK),
        ("Dune", WEAK),
        ("It", WEAK),
        ("The Old Man and the Sea", ENDS),
        ("Война и мир", "Любимые книги: Анна Каренина; ВОЙНА и мир"),
        ("三体", "最喜欢的书：《三体》、《活着》"),
        ("1,000 Places", "Favorite books: Emma, 1,000 Places"),
        ("It's", "It's"),
    ],
)
def test_a_title_that_is_a_whole_favourite_leaks(title: str, context: str) -> None:
    assert leaked(title, context)


@pytest.mark.parametrize(
    ("title", "context"),
    [
        ("It", "Favorite books: It Ends with Us by Colleen Hoover"),
        ("Dune", "Favorite books: Dune Messiah (Dune, #2) by Frank Herbert"),
        ("Dune: Messiah", "Favorite books: Dune by Frank Herbert"),
        ("Dune", "Favorite books: Dune: Messiah by Frank Herbert"),
        ("Rambo: Last Blood", "Favorite films: Rambo; Alien"),
        (
            "The Hunger Games: Catching Fire",
            "Favorite books: The Hunger Games (The Hunger Games, #1) by Suzanne Collins",
        ),
        ("Sapiens: A Brief History of Humankind", "Sapiens by Yuval Noah Harari"),
        ("Sapiens", "Sapiens: A Brief History of Humankind by Yuval Noah Harari"),
        (f"{TOLKIEN}: The Fellowship of the Ring", f"{TOLKIEN}: The Two Towers by J.R.R. Tolkien"),
        (TOLKIEN, ENDS),
        ("The Sea", ENDS),
        ("The Old Man", ENDS),
        ("Crime", "Favorite books: Crime and Punishment"),
        ("Punishment", "Favorite books: Crime and Punishment"),
        ("Crime", "Crime and Punishment by Fyodor Dostoevsky and Emma by Jane Austen"),
        ("Punishment", "Emma by Jane Austen, Crime and Punishment by Fyodor Dostoevsky"),
        ("Punishment", "Emma by Jane Austen and Crime and Punishment by Fyodor Dostoevsky"),
        ("Crime", WEAK),
        ("Punishment", WEAK),
        ("Love", "Favorite books: Emma; Eat, Pray, Love"),
        ("Love", "Favorite books: Eat, Pray, Love by Elizabeth Gilbert; Emma by Jane Austen"),
        ("Love", "Favourites:\n- Emma\n- Eat, Pray, Love"),
        ("Love", 'Favorite books: "Eat, Pray, Love", "Emma" and "It"'),
        ("Me", "Favorite books: Stand by Me by Someone"),
        ("Stand", "Favorite books: Stand by Me by Someone"),
        ("It", 'Favorite books: A Child Called "It" by Dave Pelzer; Emma by Jane Austen'),
        ("B", 'Favorite books: "B" Is for Burglar by Sue Grafton'),
        ("Pride and Prejudice", "likes: Prejudice and Pride"),
        ("S.", "Favorite books: The Magician's Nephew by C.S. Lewis"),
        ("Frank Herbert", "Favorite books: Dune by Frank Herbert; Emma by Jane Austen"),
        ("The O'Reilly Book", "It's the O'Reilly book"),
        ("Rambo", "rambo movies"),
        ("???", "What??? Really"),
        ("", "Dune by Frank Herbert"),
        ("Dune", ""),
        ("Dune", None),
    ],
)
def test_a_part_of_a_favourite_and_a_sequel_are_no_leak(title: str, context: str | None) -> None:
    assert not leaked(title, context)


@pytest.mark.parametrize("author", ["", " by Jane Doe", " by Jane Doe and John Roe", " by Jane Doe (romance)"])
def test_of_a_list_with_semicolons_every_favourite_leaks_and_no_part_of_one(author: str) -> None:
    titles = ["Emma", *(f"Left{joint}Right" for joint in (" and ", ": ", ", ", " & the ", " by "))]
    for title in titles:
        context = "Favorite books: " + "; ".join(one + author for one in ("Anna", title, "Ulysses"))
        assert leaked(f"{title} (Series, #1)", context)
        assert not leaked("Right", context) and (not leaked("Left", context) or " by " in title)
