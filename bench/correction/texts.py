"""What the training pages say: letters, prose, newspaper columns, invoices, tables and forms, each drawn from a seed.

Owns the contents and their layout in rows; draws nothing. `phrases.toml` beside this module has the words of our own.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from faker import Faker

PHRASES = Path(__file__).with_name("phrases.toml")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])(?=[bcdfghjklmnpqrstvwzßčřšžćłńśźżñç][aeiouyäöüàâéèêíóúůáýąęě])")
_OLD_PRINT = 0.04
_OLD_PRINTERS = ("en", "de", "fr")


class Kind(StrEnum):
    """What a page is."""

    LETTER = "letter"  # with sender, address, date
    PROSE = "prose"  # of a book or an article
    NEWSPAPER = "newspaper"  # a narrow column with hyphens
    INVOICE = "invoice"  # amounts in columns
    TABLE = "table"  # names and numbers in columns
    FORM = "form"  # labels with what was filled in


_SHARES = {Kind.LETTER: 24, Kind.PROSE: 30, Kind.NEWSPAPER: 20, Kind.INVOICE: 12, Kind.TABLE: 6, Kind.FORM: 8}


@dataclass(frozen=True)
class Cell:
    """Words on a row. at: where they begin, as a share of the row's width. right: they end there instead."""

    text: str
    at: float = 0.0
    right: bool = False
    typed: bool = False  # filled in with another letter than the page is printed in


@dataclass(frozen=True)
class Row:
    """One line of a page; without cells, a blank one."""

    cells: tuple[Cell, ...] = ()
    justified: bool = False
    ruled: bool = False  # a line is printed beneath
    heading: bool = False


@dataclass(frozen=True)
class Sheet:
    """The contents of a page. columns: characters of a full row. old_print: with the long s, which readers take for an f."""

    language: str
    kind: Kind
    rows: tuple[Row, ...]
    columns: int
    old_print: bool = False

    @property
    def true(self) -> str:
        """The text that is meant, a line each row."""
        return "".join(" ".join(cell.text for cell in row.cells) + "\n" for row in self.rows)


class Author:
    """Writes pages in one language. paragraphs: running text in its order, by source, each with the source's share."""

    def __init__(self, language: str, paragraphs: Sequence[tuple[float, Sequence[str]]]) -> None:
        self._language = language
        self._sources = paragraphs
        self._words: dict[str, Any] = tomllib.loads(PHRASES.read_text(encoding="utf-8"))[language]
        self._sentences = re.split(r"(?<=[.!?]) ", self._words["letter"])
        self._fakers = [Faker(locale) for locale in self._words["locales"]]

    def page(self, seed: str) -> Sheet:
        """The page of a seed."""
        rng = random.Random(seed)
        faker = rng.choice(self._fakers)
        faker.seed_instance(seed)
        kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
        draft = _Draft(rng, faker, self._words, self._running_text, self._sentences)
        makers: dict[Kind, Callable[[_Draft], tuple[list[Row], int]]] = {
            Kind.LETTER: _letter,
            Kind.PROSE: _prose,
            Kind.NEWSPAPER: _newspaper,
            Kind.INVOICE: _invoice,
            Kind.TABLE: _table,
            Kind.FORM: _form,
        }
        rows, columns = makers[kind](draft)
        is_running = kind in {Kind.PROSE, Kind.NEWSPAPER}
        old_print = is_running and self._language in _OLD_PRINTERS and rng.random() < _OLD_PRINT
        return Sheet(self._language, kind, tuple(rows), columns, old_print)

    def _running_text(self, rng: random.Random, characters: int) -> Iterator[str]:
        """Neighbouring paragraphs of one source."""
        paragraphs = rng.choices([p for _, p in self._sources], [share for share, _ in self._sources])[0]
        at = rng.randrange(len(paragraphs))
        while characters > 0:
            paragraph = paragraphs[at % len(paragraphs)]
            characters -= len(paragraph)
            at += 1
            yield paragraph


@dataclass(frozen=True)
class _Draft:
    rng: random.Random
    faker: Faker
    words: dict[str, Any]
    running_text: Callable[[random.Random, int], Iterator[str]]
    sentences: Sequence[str]

    def some(self, name: str) -> str:
        return str(self.rng.choice(self.words[name]))

    def number(self, low: int, high: int) -> str:
        return str(self.rng.randint(low, high))

    def date(self) -> str:
        day, month, year = self.rng.randint(1, 28), self.rng.randint(1, 12), self.rng.randint(1895, 2026)
        name = str(self.words["months"]).split()[month - 1]
        forms = [f"{day:02}.{month:02}.{year}", f"{day}/{month}/{year}", f"{year}-{month:02}-{day:02}", f"{day} {name} {year}"]
        return self.rng.choice([*forms, f"{day}. {name} {year}"] if self.words["currencies"][0] in "€Kč" else forms)

    def amount(self, value: float) -> str:
        text = f"{value:,.2f}"
        if self.words["currencies"][0] != "$":  # the decimal comma, and a point or a blank between thousands
            text = text.translate({ord(","): self.rng.choice(". "), ord("."): ","})
        return text

    def address(self) -> list[str]:
        return [line.strip() for line in self.faker.address().splitlines()]


def wrapped(text: str, width: int, rng: random.Random, *, hyphens: float = 0.0) -> list[str]:
    """Lines of at most `width` characters. hyphens: the share of line ends at which a word is parted where it can be."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        whole = f"{line} {word}".strip()
        if len(whole) <= width:
            line = whole
            continue
        head, tail = _parted(word, width - len(line) - 2) if rng.random() < hyphens else ("", word)
        lines.append(f"{line} {head}-" if head else line)
        line = tail
    return [*filter(None, lines), line]


def _parted(word: str, room: int) -> tuple[str, str]:
    """The word in two at the last syllable that leaves at most `room` characters before; ("", word) where there is none."""
    places = [m.start() for m in _HYPHENATED.finditer(word) if 2 <= m.start() <= room and len(word) - m.start() >= 3]
    return (word[: places[-1]], word[places[-1] :]) if places and word.isalpha() else ("", word)


def _paragraph(text: str, width: int, draft: _Draft, *, hyphens: float = 0.0, justified: bool = False) -> list[Row]:
    lines = wrapped(text, width, draft.rng, hyphens=hyphens)
    return [Row((Cell(line),), justified=justified) for line in lines[:-1]] + [Row((Cell(lines[-1]),))]


def _letter(draft: _Draft) -> tuple[list[Row], int]:
    rng, width = draft.rng, draft.rng.randint(56, 76)
    rows = [Row((Cell(line),)) for line in [draft.faker.name(), *draft.address()]]
    if rng.random() < 0.5:
        rows += [Row((Cell(line, 1.0, right=True),)) for line in (draft.faker.phone_number(), draft.faker.email())]
    rows += [Row(), Row((Cell(draft.faker.company()),)), *(Row((Cell(line),)) for line in draft.address()), Row()]
    rows += [Row((Cell(f"{draft.faker.city()}, {draft.date()}", rng.choice((0.0, 0.55))),)), Row()]
    rows += [Row((Cell(draft.some("greetings").format(name=draft.faker.last_name())),)), Row()]
    begin = rng.randrange(len(draft.sentences))
    sentences = [*draft.sentences[begin:], *draft.sentences[:begin]]
    for _ in range(rng.randint(1, 3)):
        own, sentences = sentences[: rng.randint(2, 4)], sentences[4:]
        text = " ".join(own) if rng.random() < 0.6 else " ".join(draft.running_text(rng, 150))[:600].rpartition(".")[0] + "."
        rows += [*_paragraph(text, width, draft), Row()]
    rows += [Row((Cell(draft.some("closings")),)), Row((Cell(draft.faker.name()),))]
    return rows, width


def _prose(draft: _Draft) -> tuple[list[Row], int]:
    rng, width = draft.rng, draft.rng.randint(48, 72)
    rows: list[Row] = []
    if rng.random() < 0.4:
        rows += [Row((Cell(_title(draft)),), heading=True), Row()]
    justified, hyphens, blank = rng.random() < 0.5, rng.choice((0.0, 0.1, 0.3)), rng.random() < 0.5
    for text in draft.running_text(rng, rng.randint(400, 1100)):
        rows += _paragraph(text, width, draft, hyphens=hyphens, justified=justified)
        rows += [Row()] if blank else []
    if rng.random() < 0.3:
        rows.append(Row((Cell(draft.number(2, 480), 0.5),)))
    return rows, width


def _newspaper(draft: _Draft) -> tuple[list[Row], int]:
    rng, width = draft.rng, draft.rng.randint(28, 42)
    rows = [Row((Cell(line.upper()),), heading=True) for line in wrapped(_title(draft), int(width * 0.7), rng)]
    place = f"{draft.faker.city()}, {draft.date()}. — "
    texts = list(draft.running_text(rng, rng.randint(350, 900)))
    for text in [place + texts[0], *texts[1:]]:
        rows += _paragraph(text, width, draft, hyphens=0.6, justified=True)
    if rng.random() < 0.5:
        goods = ", ".join(rng.sample(draft.words["goods"], 3))
        notice = f"{draft.faker.company()}, {', '.join(draft.address())}. {goods.capitalize()}. {draft.faker.phone_number()}."
        rows += [Row(), *_paragraph(notice, width, draft, hyphens=0.6, justified=True)]
    return rows, width


def _title(draft: _Draft) -> str:
    words = re.findall(r"[^\W\d_]+", draft.rng.choice(draft.sentences))
    return " ".join(words[: draft.rng.randint(2, 6)])


def _invoice(draft: _Draft) -> tuple[list[Row], int]:
    rng, currency = draft.rng, draft.some("currencies")
    rows = [Row((Cell(draft.faker.company()),), heading=True)]
    rows += [*(Row((Cell(line),)) for line in draft.address()), Row(), Row((Cell(draft.some("titles")),), heading=True)]
    for label in rng.sample(draft.words["fields"], rng.randint(2, 5)):
        numbers = (draft.number(1000, 999999), draft.faker.bothify("??-####"))
        value = draft.date() if "dat" in label.lower() else rng.choice(numbers)
        rows.append(Row((Cell(f"{label}:"), Cell(value, 0.34))))
    rows += [Row(), Row((Cell(draft.faker.name()),)), *(Row((Cell(line),)) for line in draft.address()), Row()]
    heads, places = draft.words["columns"], (0.0, 0.12, 0.8, 1.0)
    rows.append(Row(tuple(Cell(head, at, right=at > 0.5) for head, at in zip(heads, places, strict=True)), ruled=True))
    total = 0.0
    ruled = rng.random() < 0.3
    for item in rng.sample(draft.words["goods"], rng.randint(2, 8)):
        count, price = rng.randint(1, 40), round(rng.uniform(0.5, 10 ** rng.uniform(1, 3.5)), 2)
        total += count * price
        cells = (str(count), item, draft.amount(price), draft.amount(count * price))
        rows.append(Row(tuple(Cell(text, at, right=at > 0.5) for text, at in zip(cells, places, strict=True)), ruled=ruled))
    for label in [*draft.words["sums"][: rng.randint(0, 3)], draft.words["sums"][-1]]:
        share = 1.0 if label == draft.words["sums"][-1] else rng.uniform(0.05, 0.9)
        value = draft.amount(total * share)
        shown = f"{currency}{value}" if currency in "$£" else f"{value} {currency}"
        rows.append(Row((Cell(label, 0.5), Cell(shown, 1.0, right=True))))
    rows += [Row(), *_paragraph(" ".join(rng.sample(draft.sentences, 2)), 68, draft), Row((Cell(f"IBAN {draft.faker.iban()}"),))]
    return rows, 68


def _table(draft: _Draft) -> tuple[list[Row], int]:
    rng = draft.rng
    makers: list[Callable[[], str]] = [
        draft.faker.last_name,
        draft.faker.city,
        lambda: draft.number(1, 99999),
        draft.date,
        lambda: draft.amount(rng.uniform(1, 9000)),
        lambda: draft.some("goods").split(",")[0],
        lambda: draft.faker.bothify("??###").upper(),
    ]
    chosen = [draft.faker.name, *rng.sample(makers, 3)]
    places, ruled = (0.0, 0.3, 0.58, 0.8), rng.random() < 0.5
    heads = rng.sample([label for label in draft.words["form"] if len(label) <= 14], 4)
    rows = [Row((Cell(draft.some("table_titles")),), heading=True), Row()]
    rows.append(Row(tuple(Cell(head, at) for head, at in zip(heads, places, strict=True)), ruled=True))
    for _ in range(rng.randint(8, 18)):
        cells = (make()[:22].strip() for make in chosen)
        rows.append(Row(tuple(Cell(text, at) for text, at in zip(cells, places, strict=True)), ruled=ruled))
    return rows, 84


def _form(draft: _Draft) -> tuple[list[Row], int]:
    rng, typed = draft.rng, draft.rng.random() < 0.7
    rows = [Row((Cell(draft.some("form_titles")),), heading=True), Row()]
    labels = draft.words["form"]
    values = [
        *(draft.faker.last_name(), draft.faker.first_name(), draft.date(), draft.faker.country()),
        *((draft.address()[0], draft.address()[-1], draft.faker.phone_number(), draft.faker.email())),
        *(draft.faker.job(), draft.faker.company()),
    ]
    for label, value in zip(labels, values, strict=False):
        rows.append(Row((Cell(f"{label}:"), Cell(value, 0.36, typed=typed)), ruled=rng.random() < 0.5))
    number = draft.faker.bothify("## ### ### ?").upper()
    rows.append(Row((Cell(f"{labels[rng.choice((10, 11))]}:"), Cell(number, 0.36, typed=typed))))
    remark = _paragraph(rng.choice(draft.sentences), 66, draft)
    rows += [Row(), Row((Cell(f"{labels[-1]}:"),))]
    rows += [replace(row, cells=(replace(row.cells[0], typed=typed),)) for row in remark]
    rows += [Row(), *_paragraph(" ".join(rng.sample(draft.sentences, 2)), 68, draft), Row()]
    rows.append(Row((Cell(f"{draft.faker.city()}, {draft.date()}"), Cell(draft.faker.name(), 0.6))))
    return rows, 68
