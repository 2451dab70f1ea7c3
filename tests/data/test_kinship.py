"""The kinship stories against an oracle of another kind: a generated village in which every relation is looked up."""

import random
import re
from collections import defaultdict

import pytest

from harness.data.builtin.kinship import COMPOSE, NAMES, TOLD, WORDS, build, chains_by_answer

OPTIONS = {"seed": 5, "rows": 400, "hops": [2, 3, 4]}


def village(seed: int) -> dict[tuple[int, int], set[str]]:
    """All relations of a random family of four generations: (a, b) -> what a is to b."""
    rng = random.Random(seed)
    parents: dict[int, tuple[int, int]] = {}
    spouse: dict[int, int] = {}
    count = 0

    def born() -> int:
        nonlocal count
        count += 1
        return count

    couples = [(born(), born()) for _ in range(3)]
    for generation in range(4):
        children = [(born(), couple) for couple in couples for _ in range(rng.choice((2, 3)))]
        parents |= dict(children)
        for a, b in couples:
            spouse[a], spouse[b] = b, a
        couples = [(child, born()) for child, _ in children if generation < 3 and rng.random() < 0.8]
    people = range(1, count + 1)
    kids = defaultdict(set)
    for child, couple in parents.items():
        for parent in couple:
            kids[parent].add(child)
    siblings = {a: {b for b in people if b != a and a in parents and parents.get(b) == parents[a]} for a in people}
    return _relations(people, parents, spouse, kids, siblings)


def _relations(people, parents, spouse, kids, siblings) -> dict[tuple[int, int], set[str]]:
    def all_of(of, group):
        return {x for person in group for x in of(person)}

    married = lambda a: {spouse[a]} if a in spouse else set()  # noqa: E731
    found = defaultdict(set)
    for c in people:
        mine = set(parents.get(c, ()))
        uncles = all_of(siblings.get, mine)
        partners = married(c)
        in_laws = all_of(siblings.get, partners)
        relatives = {
            "parent": mine,
            "child": kids[c],
            "sibling": siblings[c],
            "spouse": partners,
            "grandparent": all_of(lambda a: parents.get(a, ()), mine),
            "grandchild": all_of(kids.__getitem__, kids[c]),
            "pibling": uncles | all_of(married, uncles),
            "nibling": all_of(kids.__getitem__, siblings[c] | in_laws),
            "cousin": all_of(kids.__getitem__, uncles),
            "parent-in-law": all_of(lambda a: parents.get(a, ()), partners),
            "child-in-law": all_of(married, kids[c]),
            "sibling-in-law": in_laws | all_of(married, siblings[c]),
        }
        for name, group in relatives.items():
            for a in group - {c}:
                found[a, c].add(name)
    return found


def test_every_rule_of_the_table_holds_for_every_pair_in_generated_villages():
    used = set()
    for seed in range(4):
        relations = village(seed)
        ahead = defaultdict(list)
        for (a, b), names in relations.items():
            ahead[a] += [(name, b) for name in names]
        for (a, b), names in list(relations.items()):
            for first in names:
                for second, c in ahead[b]:
                    if second in TOLD and (first, second) in COMPOSE and c != a:
                        used.add((first, second))
                        assert relations[a, c] == {COMPOSE[first, second]}, (first, second)
    assert used == set(COMPOSE)


def test_a_story_names_as_many_people_as_its_chain_and_its_answer_has_the_right_gender():
    women = set(NAMES[0])
    words = {word: i for pair in WORDS.values() for i, word in enumerate(pair)}
    for row in build(OPTIONS)["train"]:
        people = set(re.findall(r"\b[A-Z][a-z]+\b", row["story"].replace("'s", "")))
        assert len(people) == row["hops"] + 1
        asked = re.fullmatch(r"What is (\w+) to (\w+)\?", row["question"])
        assert asked and {asked[1], asked[2]} <= people
        assert row["relation"] == "cousin" or (words[row["relation"]] == 0) == (asked[1] in women)


def test_rows_are_different_deterministic_and_even_over_the_answers():
    rows = build(OPTIONS)["train"]
    assert rows == build(OPTIONS)["train"] != build(OPTIONS | {"seed": 6})["train"]
    assert len({row["story"] for row in rows}) == len(rows) == 400
    kinds = chains_by_answer([2, 3, 4])
    assert set(kinds) == set(WORDS)
    largest = max(sum(row["relation"] in WORDS[kind] for row in rows) for kind in kinds)
    assert largest < 2 * 400 / len(kinds)


@pytest.mark.parametrize("hops", [[2], [3], [4]])
def test_the_number_of_hops_is_the_number_of_sentences(hops):
    rows = build(OPTIONS | {"hops": hops, "rows": 40})["train"]
    assert all(row["story"].count(".") == hops[0] == row["hops"] for row in rows)
