"""A written answer against all references of its row: VQA accuracy and ANLS.

VQA accuracy: Antol et al. 2015 (arXiv:1505.00468) and the evaluation code of visualqa.org. ANLS: Biten et al. 2019
(arXiv:1905.13648).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.ledger.errors import DataError

THRESHOLD = 0.5  # of ANLS: an answer that needs as large a share of edits, or a larger one, counts nothing
NEEDED = 4  # references for VQA accuracy: one is left out, and three others make an answer right
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_ARTICLES = ("a", "an", "the")
_MARKS = ';/[]"{}()=+\\_->@<`,?!'
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
    who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've
    you'll you're you've
"""
# a word that lacks one of its apostrophes, to that word
_CONTRACTIONS = {
    word[:at] + word[at + 1 :]: word for word in _CONTRACTED.split() for at, sign in enumerate(word) if sign == "'"
}


def references_of(value: Any, path: str) -> list[str]:
    """A row's references: a text, a list of texts, or a list of {answer: text}. Raises DataError for anything else."""
    items = value if isinstance(value, list | tuple) else [value]
    texts: list[Any] = [item.get("answer") if isinstance(item, Mapping) else item for item in items]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"'{path}' holds {value!r:.80}; it must be a text, a list of texts or a list of {{answer: text}}."
        )
    return texts


def most_frequent(references: Sequence[str]) -> str:
    """The text that most references are, of equally frequent ones the first."""
    return Counter(references).most_common(1)[0][0]


def normalised(answer: str) -> str:
    """As VQA's evaluation code does it: no punctuation, lower case, digits for number words, no articles, apostrophes.

    That code leaves both sides as they are where all references are one text; this is done to every answer.
    """
    words = [_DIGITS.get(word, word) for word in _without_marks(" ".join(answer.split())).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_marks(text: str) -> str:
    """A mark beside a blank goes, another becomes a blank; all go from a text with a thousands comma. A full stop goes
    unless a digit follows it."""
    thousands = re.search(r"\d,\d", text) is not None
    without = text
    for mark in _MARKS:
        alone = thousands or f"{mark} " in text or f" {mark}" in text
        without = without.replace(mark, "" if alone else " ")
    return re.sub(r"\.(?!\d)", "", without)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """The mean, over the references left out in turn, of min(others that say the same / 3, 1); 0 to 1."""
    same = sum(normalised(reference) == normalised(answer) for reference in references)
    others = [same - 1] * same + [same] * (len(references) - same)  # where the one left out says the same, one fewer
    return sum(min(count / 3, 1.0) for count in others) / len(references)


def anls(answer: str, references: Sequence[str]) -> float:
    """1 - the least normalised edit distance to a reference, case and blanks aside; 0 from `THRESHOLD` on."""
    least = min(_normalised_distance(answer, reference) for reference in references)
    return 1 - least if least < THRESHOLD else 0.0


def _normalised_distance(answer: str, reference: str) -> float:
    """Edit distance over the length of the longer text; 0 where both are empty."""
    a, b = (" ".join(text.lower().split()) for text in (answer, reference))
    return _edits(a, b) / max(len(a), len(b), 1)


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance: insertions, deletions and substitutions of characters."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]
