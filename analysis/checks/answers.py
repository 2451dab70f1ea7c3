"""VQA accuracy and ANLS of one answer, written apart from the code that runs are scored with, so as to check it.

VQA accuracy: https://visualqa.org/evaluation.html, as `vqaEval.py` computes it. ANLS: arXiv:1905.13648, equation 1.
"""

import re
from functools import cache
from itertools import pairwise

_COUNTED = "zero one two three four five six seven eight nine ten"
_NUMBER = {word: str(n) for n, word in enumerate(_COUNTED.split())}
_MARK = re.compile(r"""[;/\[\]"{}()=+\\_\->@<`,?!]""")
_APOSTROPHES = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
    who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've
    you'll you're you've
"""


def vqa_accuracy(answer: str, references: list[str]) -> float:
    """Mean over all sets of references but one of min(agreeing / 3, 1)."""
    texts, given = [_plain(text) for text in references], _plain(answer)
    sets = [texts[:left_out] + texts[left_out + 1 :] for left_out in range(len(texts))]
    return sum(min(1.0, others.count(given) / 3) for others in sets) / len(sets)


def anls(answer: str, references: list[str]) -> float:
    """The largest similarity 1 - distance / length of the longer text, where the distance is below half of that."""
    return max(_similarity(_folded(answer), _folded(text)) for text in references)


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip()).lower()


def _similarity(left: str, right: str) -> float:
    if left == right:
        return 1.0
    edits, longer = _distance(left, right), max(len(left), len(right))
    return 1 - edits / longer if 2 * edits < longer else 0.0


def _distance(left: str, right: str) -> int:
    """Levenshtein's, row by row."""
    row = tuple(range(len(right) + 1))
    for number, sign in enumerate(left, start=1):
        steps = [before + (sign != other) for before, other in zip(row, right, strict=False)]
        best = [number]
        for straight, (_, above) in zip(steps, pairwise(row), strict=True):
            best.append(min(straight, above + 1, best[-1] + 1))
        row = tuple(best)
    return row[-1]


@cache
def _plain(text: str) -> str:
    text = re.sub(r"\s+", " ", text.strip())
    has_thousands = bool(re.search(r"\d,\d", text))
    beside_blank = {mark for mark in _MARK.findall(text) if f"{mark} " in text or f" {mark}" in text}
    text = _MARK.sub(lambda mark: "" if has_thousands or mark[0] in beside_blank else " ", text)
    words = (_word(word) for word in re.sub(r"\.(?!\d)", "", text).lower().split())
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def _word(word: str) -> str:
    """Digits for a number, and a missing apostrophe put in where exactly one is missing."""
    word = "0" if word == "none" else _NUMBER.get(word, word)
    return next((full for full in _APOSTROPHES.split() if _lacks_one(word, full)), word)


def _lacks_one(word: str, full: str) -> bool:
    return len(word) + 1 == len(full) and any(
        full[:at] + full[at + 1 :] == word for at, sign in enumerate(full) if sign == "'"
    )
