"""Make the small samples of tasks/stsb and tasks/quora from templates, byte for byte: ``python tasks/make_samples.py``.

They are made up, so that the tasks can be tried and tested without a network; what a model scores on them says nothing.
"""

import csv
import itertools
import random
from pathlib import Path

FOLDER = Path(__file__).parent
SUBJECTS = ("A man", "A woman", "A child", "An old farmer", "A dog")
ACTIONS = (
    "is crossing the street",
    "is sleeping",
    "is eating an apple",
    "is climbing a ladder",
    "is looking at the sea",
)
REWORDED = {
    "is crossing the street": "walks over the road",
    "is sleeping": "is fast asleep",
    "is eating an apple": "bites into an apple",
    "is climbing a ladder": "goes up a ladder",
    "is looking at the sea": "watches the ocean",
}
PLACES = ("in the morning", "at night", "in a village", "behind the house")

# Topics of one pair are asked about in each other's negatives, so that groups of connected questions stay small.
TOPICS = (
    ("bread", "a kite"),
    ("a website", "pottery"),
    ("cheese", "a wooden chair"),
    ("soap", "a garden pond"),
    ("jam", "a robot"),
    ("a scarf", "a rowing boat"),
)
# Questions of one row ask the same, those of different rows do not.
INTENTS = (
    ("How do I make {}?", "What is the best way to make {}?", "How can I make {} myself?"),
    ("How much does {} cost?", "What is the price of {}?", "What do people pay for {}?"),
    ("Where can I buy {}?", "Which shops sell {}?", "Who sells {} near me?"),
    ("Who invented {}?", "Who was the first to make {}?", "Whose invention is {}?"),
    ("Is {} bad for the environment?", "Does {} harm nature?", "How green is {}?"),
)
SPLITS = ("train", "train", "train", "dev", "test")


def sentences() -> list[tuple[str, str, str, str]]:
    """Return (split, score, sentence1, sentence2): 3 points for the same action, 1 each for subject and place."""
    generator = random.Random(7)
    facts = list(itertools.product(SUBJECTS, ACTIONS, PLACES))
    rows = []
    for number in range(200):
        left, right = generator.sample(facts, 2)
        if number % 2:
            right = (left[0] if number % 3 else right[0], left[1], left[2] if number % 5 else right[2])
        score = (left[0] == right[0]) + 3 * (left[1] == right[1]) + (left[2] == right[2])
        words = [
            f"{subject} {action} {place}."
            for subject, action, place in (left, (right[0], REWORDED[right[1]], right[2]))
        ]
        rows.append((SPLITS[number % len(SPLITS)], f"{score - 0.2 * (0 < score < 5):.1f}", *words))
    return rows


def questions() -> list[tuple[str, str, int]]:
    """Return (sentence1, sentence2, label): rewordings of a question, and as many questions about something else."""
    generator = random.Random(7)
    rows = []
    for topics, intent in itertools.product(TOPICS, INTENTS):
        asked = [[question.format(topic) for question in intent] for topic in topics]
        rows += [(left, right, 1) for same in asked for left, right in itertools.combinations(same, 2)]
        rows += [(left, right, 0) for left, right in generator.sample(list(itertools.product(*asked)), 6)]
    generator.shuffle(rows)
    return rows


def main() -> None:
    with (FOLDER / "stsb/sample.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        writer.writerows([("split", "score", "sentence1", "sentence2"), *sentences()])
    with (FOLDER / "quora/sample.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("sentence1", "sentence2", "label"), *questions()])


if __name__ == "__main__":
    main()
