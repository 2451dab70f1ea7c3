"""dataset=kinship: stories of our own, in which family relations must be composed: who is the first person to the last?

A story states two to four relations between neighbours of a chain. The table below composes them from left to right; a
pair with more than one possible answer is not in it, so no story has two answers. Convention: a couple shares its
children, siblings share both parents, and no one marries twice or within the family.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOLD = ("parent", "child", "sibling", "spouse")  # relations that a sentence states
COMPOSE: Mapping[tuple[str, str], str] = {  # a is R1 of b, b is R2 of c: a is ... of c
    ("parent", "parent"): "grandparent",
    ("parent", "child"): "spouse",
    ("parent", "sibling"): "parent",
    ("parent", "spouse"): "parent-in-law",
    ("child", "parent"): "sibling",
    ("child", "child"): "grandchild",
    ("child", "sibling"): "nibling",
    ("child", "spouse"): "child",
    ("sibling", "parent"): "pibling",
    ("sibling", "child"): "child",
    ("sibling", "sibling"): "sibling",
    ("sibling", "spouse"): "sibling-in-law",
    ("spouse", "parent"): "parent",
    ("spouse", "child"): "child-in-law",
    ("spouse", "sibling"): "sibling-in-law",
    ("grandparent", "sibling"): "grandparent",
    ("grandchild", "spouse"): "grandchild",
    ("pibling", "sibling"): "pibling",
    ("nibling", "parent"): "cousin",
    ("nibling", "spouse"): "nibling",
    ("cousin", "child"): "nibling",
    ("cousin", "sibling"): "cousin",
    ("parent-in-law", "parent"): "grandparent",
    ("parent-in-law", "spouse"): "parent",
    ("child-in-law", "spouse"): "child-in-law",
    ("sibling-in-law", "parent"): "pibling",
}
WORDS: Mapping[str, tuple[str, str]] = {  # for a woman, for a man
    "parent": ("mother", "father"),
    "child": ("daughter", "son"),
    "sibling": ("sister", "brother"),
    "spouse": ("wife", "husband"),
    "grandparent": ("grandmother", "grandfather"),
    "grandchild": ("granddaughter", "grandson"),
    "pibling": ("aunt", "uncle"),
    "nibling": ("niece", "nephew"),
    "cousin": ("cousin", "cousin"),
    "parent-in-law": ("mother-in-law", "father-in-law"),
    "child-in-law": ("daughter-in-law", "son-in-law"),
    "sibling-in-law": ("sister-in-law", "brother-in-law"),
}
INVERSE = {"parent": "child", "child": "parent", "sibling": "sibling", "spouse": "spouse"}
NAMES = (
    ("Alice", "Carol", "Diana", "Emma", "Grace", "Helen", "Julia", "Laura", "Maria", "Nora", "Rosa", "Sarah"),
    ("Adam", "Brian", "David", "Eric", "Frank", "Henry", "James", "Kevin", "Martin", "Oscar", "Peter", "Simon"),
)
TOLD_BACKWARDS = 0.25  # share of sentences that name the second person first


def fingerprint() -> str:
    """What the rows depend on beside the options; cheap."""
    return "1"


def build(options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """`rows` different rows {story, question, relation, hops}, answers as even as they can be, from `options.seed`."""
    rng = random.Random(int(options["seed"]))
    chains = chains_by_answer(options["hops"])
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    while len(rows) < int(options["rows"]):
        row = _row(rng, rng.choice(chains[rng.choice(list(chains))]))
        if row["story"] not in seen:
            seen.add(row["story"])
            rows.append(row)
    return {"train": rows}


def chains_by_answer(hops: Sequence[int]) -> dict[str, list[tuple[str, ...]]]:
    """Every chain of told relations with one answer, by that answer."""
    chains: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for chain in itertools.chain.from_iterable(itertools.product(TOLD, repeat=n) for n in hops):
        if (answer := composed(chain)) is not None:
            chains[answer].append(chain)
    return dict(chains)


def composed(chain: Sequence[str]) -> str | None:
    """What the first person is to the last; None when the table has no single answer."""
    answer: str | None = chain[0]
    for relation in chain[1:]:
        answer = COMPOSE.get((answer, relation)) if answer else None
    return answer


def _row(rng: random.Random, chain: Sequence[str]) -> dict[str, Any]:
    women = _genders(rng, chain)
    names = _distinct_names(rng, women)
    sentences = [
        _sentence(rng, relation, (names[i], women[i]), (names[i + 1], women[i + 1])) for i, relation in enumerate(chain)
    ]
    answer = WORDS[str(composed(chain))][0 if women[0] else 1]
    question = f"What is {names[0]} to {names[-1]}?"
    return {"story": " ".join(sentences), "question": question, "relation": answer, "hops": len(chain)}


def _genders(rng: random.Random, chain: Sequence[str]) -> list[bool]:
    """True for a woman. The two of a couple differ, also where the couple is only implied (parents of one child)."""
    women = [rng.random() < 0.5]
    for i, relation in enumerate(chain):
        free = rng.random() < 0.5
        if relation == "spouse":
            free = not women[i]
        elif relation == "child" and i > 0 and chain[i - 1] == "parent":
            free = not women[i - 1]
        women.append(free)
    return women


def _distinct_names(rng: random.Random, women: Sequence[bool]) -> list[str]:
    pools: list[Iterator[str]] = [iter(rng.sample(names, len(names))) for names in NAMES]
    return [next(pools[0 if woman else 1]) for woman in women]


def _sentence(rng: random.Random, relation: str, first: tuple[str, bool], second: tuple[str, bool]) -> str:
    if rng.random() < TOLD_BACKWARDS:
        relation, first, second = INVERSE[relation], second, first
    word = WORDS[relation][0 if first[1] else 1]
    return rng.choice((f"{first[0]} is the {word} of {second[0]}.", f"{first[0]} is {second[0]}'s {word}."))
