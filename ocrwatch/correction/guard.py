"""The guard: no edit passes that could change a number, a meaning that rests on one small word, or the layout. Pure.

It knows nothing of how an edit was found and trusts nobody: every edit of every source, the two number exceptions included, is
examined against the raw page again. What it lets through keeps all numbers with their signs, separators, currency signs,
units and touching spaces (`ocrwatch.correction.figures`), all line and page breaks and indentation, and all protected tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from rapidfuzz.distance import Levenshtein

from ocrwatch.correction import closed, figures, marks
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.words import halves, is_torn

MAX_EDIT_CHARACTERS = 40
MAX_EDIT_DISTANCE = 5
_LINE_DISTANCE_SHARE = 0.35
_LINE_LENGTH_SHARE = 0.15
_LINE_ALLOWANCE = 4
_SHORT_WORD = 3
"""A word of so few letters that touches a number may be its unit, currency or `No.`: it stays."""

_TOKEN = re.compile(r"\S+")
_INNER_SPACE = " "
_INNER_MARKS = frozenset("'’-‐|!¦")
"""What may stand inside a word that is replaced; only the first four may stand in the new one."""

_NEW_MARKS = frozenset("'’-‐")
_ADDRESS = re.compile(r"@|://|^www\.|[^\W\d_]\.[^\W\d_]|[\\/_=&#]", re.IGNORECASE)
_INNER_CAPITAL = re.compile(r"[^\W\d_A-ZÀ-ÖØ-Þ][A-HJ-ZÀ-ÖØ-Þ]")


@dataclass(frozen=True)
class Refused:
    """An edit that did not pass, and why."""

    edit: Edit
    why: str


class Guard:
    """Examines edits of one raw page.

    names: words that were seen to be names and stay. is_word: whether a word is in a list or elsewhere in the document.
    letter_to_digit, digit_to_letter: whether the two exceptions are allowed.
    """

    def __init__(
        self,
        raw: str,
        *,
        is_word: Callable[[str], bool],
        names: frozenset[str] = frozenset(),
        letter_to_digit: bool = True,
        digit_to_letter: bool = True,
    ) -> None:
        self._raw = raw
        self._names = names
        self._is_word = is_word
        self._allowed = {Reason.LETTER_TO_DIGIT: letter_to_digit, Reason.DIGIT_TO_LETTER: digit_to_letter}
        self._tokens = [m.span() for m in _TOKEN.finditer(raw)]
        self._halves = halves(raw)

    def admit(self, edits: Iterable[Edit]) -> tuple[list[Edit], list[Refused]]:
        """The edits that pass, sorted and without overlaps, and the others; where two are in conflict the surer one passes."""
        kept: list[Edit] = []
        refused: list[Refused] = []
        for edit in sorted(edits, key=lambda e: (-e.score, e.offset, e.before, e.after)):
            why = self.objection(edit) or self._conflict(edit, kept)
            if why:
                refused.append(Refused(edit, why))
            else:
                kept.append(edit)
        return sorted(kept, key=lambda e: e.offset), refused

    def objection(self, edit: Edit) -> str | None:
        """Why this edit must not be made, for people; None when it may."""
        start, end = edit.offset, edit.offset + len(edit.before)
        if not edit.before or not edit.after or start < 0 or self._raw[start:end] != edit.before:
            return "does not fit the text"
        if edit.before == edit.after:
            return "changes nothing"
        if edit.reason is Reason.LETTER_TO_DIGIT:
            return self._objection_to_digits(edit)
        if edit.reason is Reason.DIGIT_TO_LETTER:
            return self._objection_to_letters(edit)
        if edit.reason is Reason.PUNCTUATION:
            return self._objection_to_marks(edit)
        if edit.reason is Reason.SIGN_TO_LETTER:
            return self._objection_to_lone_letter(edit)
        return (
            _objection_to_characters(edit)
            or self._objection_to_place(start, end)
            or _objection_to_size(edit)
            or self._objection_to_script(edit)
            or self._objection_to_words(edit)
        )

    def is_protected(self, start: int, end: int) -> bool:
        """Whether the text between the offsets must stay as read, whatever is proposed."""
        return self._objection_to_place(start, end) is not None

    def _objection_to_digits(self, edit: Edit) -> str | None:
        if not self._allowed[edit.reason]:
            return "letter to digit is switched off"
        if not self._is_whole_token(edit) or figures.letter_to_digit(edit.before) != edit.after:
            return "is no misread amount, decimal number or date"
        return None

    def _objection_to_letters(self, edit: Edit) -> str | None:
        if not self._allowed[edit.reason]:
            return "digit to letter is switched off"
        if not self._is_whole_token(edit) or edit.after not in figures.digit_to_letter(edit.before, self._is_word):
            return "is no word with a misread letter"
        if any(figures.is_number(token) or not any(c.isalpha() for c in token) for token in self._neighbours(edit.offset)):
            return "stands beside a number"
        return None

    def _objection_to_marks(self, edit: Edit) -> str | None:
        if not self._is_whole_token(edit) or edit.after not in marks.repairs(edit.before):
            return "is no misread mark at a word"
        word = edit.before.strip(marks.ALL)
        if figures.is_number(word) or not self._is_word(word) or closed.is_closed(word):
            return "is a mark at what may be no word"
        if any(figures.is_number(token) for token in self._neighbours(edit.offset)):
            return "stands beside a number"
        if marks.has_partner(self._raw, edit.offset, edit.before):
            return "has its closing mark"
        return None

    def _objection_to_lone_letter(self, edit: Edit) -> str | None:
        if not self._is_whole_token(edit) or not marks.is_lone_sign(self._raw, edit.offset, edit.before):
            return "is no sign alone in running text"
        if not (len(edit.after) == 1 and _is_letter(edit.after) and self._is_word(edit.after)):
            return "is no word of one letter"
        if any(figures.is_number(token) for token in self._neighbours(edit.offset)):
            return "stands beside a number"
        return None

    def _is_whole_token(self, edit: Edit) -> bool:
        return (edit.offset, edit.offset + len(edit.before)) in self._tokens

    def _objection_to_place(self, start: int, end: int) -> str | None:
        if _joins(self._raw[start - 1 : start]) or _joins(self._raw[end : end + 1]):
            return "is a part of a word"
        for token_start, token_end in self._covered(start, end):
            token = self._raw[token_start:token_end]
            if figures.is_number(token):
                return "touches a number or a sign"
            if figures.is_in_letters(token) and not self._is_word(token.casefold()):
                return "may be a number that was read as letters"
            if _ADDRESS.search(token) or (_INNER_CAPITAL.search(token) and not self._is_torn(start, end)):
                return "touches an address or a code"
        if self._raw[start:end] in self._names:
            return "is a name seen before"
        beside = [t for t in (*self._neighbours(start), *self._neighbours(end - 1)) if figures.is_number(t)]
        if beside and not (self._raw[start:end].isalpha() and end - start > _SHORT_WORD):
            return "touches a number"
        return None

    def _is_torn(self, start: int, end: int) -> bool:
        """Whether the capitals within are misread: the word is a plain one but for them."""
        word = self._raw[start:end]
        return is_torn(word) and self._is_word(word.casefold()) and not closed.is_closed(word)

    def _objection_to_script(self, edit: Edit) -> str | None:
        strange = {script(c) for c in edit.after if c.isalpha()} - {script(c) for c in edit.before if c.isalpha()}
        return "is in another script" if strange else None

    def _objection_to_words(self, edit: Edit) -> str | None:
        before, after = (re.split(r"[ \-‐]", text) for text in (edit.before, edit.after))
        gone = [w for w in before if w not in after]
        come = [w for w in after if w not in before]
        whole, new = self._unbroken(edit)
        if (
            any(closed.is_closed(w) for w in (*gone, whole))
            or not all(closed.may_become("".join(gone), w, self._is_word) for w in come)
            or not closed.may_become(whole, new, self._is_word)
        ):
            return "may swap a number word, month, title, negation, unit or the like"
        return None

    def _unbroken(self, edit: Edit) -> tuple[str, str]:
        """The word of which the edit concerns a half that a line end parts, before and after; twice nothing when it does not."""
        head, half, tail = self._halves.get(edit.offset, ("", "", ""))
        return (head + half + tail, head + edit.after + tail) if edit.before == half else ("", "")

    def _covered(self, start: int, end: int) -> list[tuple[int, int]]:
        return [(a, b) for a, b in self._tokens[self._index(start) :] if a < end and b > start] if end > start else []

    def _index(self, position: int) -> int:
        """The first token that ends after the position."""
        low, high = 0, len(self._tokens)
        while low < high:
            middle = (low + high) // 2
            if self._tokens[middle][1] <= position:
                low = middle + 1
            else:
                high = middle
        return low

    def _neighbours(self, position: int) -> list[str]:
        """The tokens before and after the token here, on the same line, and past those that are only punctuation."""
        at = self._index(position)
        return [token for step in (-1, 1) for token in self._towards(at, step)]

    def _towards(self, at: int, step: int) -> list[str]:
        found: list[str] = []
        while 0 <= at + step < len(self._tokens):
            first, second = sorted((at, at + step))
            if not _is_one_line(self._raw[self._tokens[first][1] : self._tokens[second][0]]):
                break
            at += step
            found.append(self._raw[slice(*self._tokens[at])])
            if any(c.isalnum() for c in found[-1]):
                break
        return found

    def _conflict(self, edit: Edit, kept: Sequence[Edit]) -> str | None:
        start, end = edit.offset, edit.offset + len(edit.before)
        if any(start < k.offset + len(k.before) and k.offset < end for k in kept):
            return "overlaps a surer edit"
        line_start, line_end = _line_around(self._raw, start, end)
        on_line = [k for k in (*kept, edit) if line_start <= k.offset < line_end]
        distance = sum(Levenshtein.distance(k.before, k.after) for k in on_line)
        growth = abs(sum(len(k.after) - len(k.before) for k in on_line))
        length = line_end - line_start
        if distance > max(_LINE_ALLOWANCE, _LINE_DISTANCE_SHARE * length) or growth > max(
            _LINE_ALLOWANCE, _LINE_LENGTH_SHARE * length
        ):
            return "changes too much of its line"
        return None


def script(character: str) -> str:
    """The script of a letter, as the first word of its Unicode name: `LATIN`, `CYRILLIC`, `FULLWIDTH`."""
    return unicodedata.name(character, "UNKNOWN").split(" ", 1)[0]


def _joins(neighbour: str) -> bool:
    """Whether a character beside an edit would make it a part of a word."""
    if not neighbour or neighbour.isspace():
        return False
    return neighbour.isalnum() or unicodedata.category(neighbour)[0] in "MC"


def _is_one_line(gap: str) -> bool:
    return len(f"a{gap}b".splitlines()) == 1


def _objection_to_characters(edit: Edit) -> str | None:
    for text, inner in ((edit.before, _INNER_MARKS), (edit.after, _NEW_MARKS)):
        if not (_is_letter(text[0]) and _is_letter(text[-1])):
            return "does not begin and end with a letter"
        if any(not (_is_letter(c) or c in inner or c == _INNER_SPACE or unicodedata.category(c) == "Mn") for c in text):
            return "has characters that no word has"
        if "  " in text or text.count(" ") > 2:
            return "changes spaces that may be layout"
    return None


def _is_letter(character: str) -> bool:
    return character.isalpha() and not figures.is_numeric(character)


def _objection_to_size(edit: Edit) -> str | None:
    longest = max(len(edit.before), len(edit.after))
    distance = Levenshtein.distance(edit.before.casefold(), edit.after.casefold())
    if longest > MAX_EDIT_CHARACTERS or distance > min(MAX_EDIT_DISTANCE, max(1, ceil(0.5 * len(edit.before)))):
        return "changes too much of the word"
    return None


def _line_around(text: str, start: int, end: int) -> tuple[int, int]:
    breaks = re.compile(r"[\n\r\f\v\x1c-\x1e\x85\u2028\u2029]")
    line_start = max((m.end() for m in breaks.finditer(text, 0, start)), default=0)
    after = breaks.search(text, end)
    return line_start, after.start() if after else len(text)
