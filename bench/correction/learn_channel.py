"""Learns `ocrwatch/correction/channel.tsv`: how Tesseract misreads text that this program renders and degrades itself.

    python -m bench.correction.learn_channel [--pages 900] [--seed 11] [--output ocrwatch/correction/channel.tsv]

Owns the whole way: text (the letters and invoices below, licence texts of Debian, words drawn by frequency), DejaVu fonts,
degradation with a fixed seed, recognition, alignment, counting. No scanned or foreign data set goes in, so that
the table may be shipped. Licence texts that `bench.correction.run` measures on are not learned from.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

os.environ["OMP_THREAD_LIMIT"] = "1"  # read by Tesseract when it loads

import numpy as np
import tesserocr
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rapidfuzz.distance import Levenshtein
from wordfreq import top_n_list, word_frequency

TESSDATA = "/usr/share/tesseract-ocr/5/tessdata"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
LICENCES = Path("/usr/share/common-licenses")
LICENCE_NAMES = ("GPL-2", "LGPL-2.1", "LGPL-2", "GFDL-1.2", "BSD", "CC0-1.0", "MPL-1.1")
FONT_NAMES = (
    "DejaVuSerif",
    "DejaVuSans",
    "DejaVuSansMono",
    "DejaVuSansCondensed",
    "DejaVuSerifCondensed",
    "DejaVuSerif-Italic",
    "DejaVuSerif-Bold",
    "DejaVuSansCondensed-Oblique",
)
LINE_CHARACTERS = 68
OWN_TEXTS = {
    "eng": """Dear Mrs Holloway, thank you for your letter of last week. We are sorry to hear that the delivery arrived late
    and that two of the boxes were damaged. A replacement has been sent this morning and should reach you before
    Friday. Please keep the old boxes until our driver has collected them. If anything else is missing, call our
    office between nine and five o'clock. The patient was seen in the clinic for a check after surgery. The wound is
    dry and healing well, there is no fever and no sign of infection. Blood pressure is normal. She was told to
    continue the tablets twice daily with food and to return in six weeks, or earlier if the pain gets worse. Please
    find our invoice for the repair of the heating system below. The amount is due within thirty days without
    deduction. Goods remain our property until full payment has been received. Kindly quote the customer number with
    every transfer. The quarterly meeting of the board took place in the large hall. The chairman opened the session
    and welcomed all members. The minutes of the previous meeting were approved without changes. The treasurer
    presented the budget and explained why travel expenses had risen. Whoever finds this notebook is kindly asked to
    return it to the library. It contains measurements of rainfall, wind and temperature that took many months to
    collect and can't be replaced. The weather was rough in the mountains, and we often had to wait for hours until
    the fog cleared. This agreement begins when both parties have signed it and may be ended by either of them with
    three months' notice. The tenant shall keep the rooms clean, report any damage quickly, and ask the owner before
    making changes. Quiet hours are to be respected by everyone in the house.""",
    "deu": """Sehr geehrte Frau Köhler, vielen Dank für Ihr Schreiben aus der vergangenen Woche. Wir bedauern, daß die
    Lieferung verspätet eingetroffen ist und zwei Kisten beschädigt waren. Der Ersatz wurde heute früh verschickt
    und müßte Sie vor Freitag erreichen. Bitte bewahren Sie die alten Schachteln auf, bis unser Fahrer sie abgeholt
    hat. Für Rückfragen erreichen Sie uns täglich im Büro in der Großen Straße. Der Patient wurde nach der Operation
    in der Sprechstunde gesehen. Die Wunde ist trocken und heilt gut, es besteht kein Fieber. Der Blutdruck ist
    unauffällig. Die Tabletten sollen zweimal täglich zum Essen eingenommen werden, eine Kontrolle erfolgt in sechs
    Wochen. Wir erlauben uns, Ihnen für die Reparatur der Heizungsanlage folgende Beträge in Rechnung zu stellen.
    Der Gesamtbetrag ist innerhalb von dreißig Tagen ohne Abzug zu zahlen. Die Ware bleibt bis zur vollständigen
    Bezahlung unser Eigentum. Bitte geben Sie bei jeder Überweisung die Kundennummer an. Die Sitzung des Vorstandes
    fand im großen Saal statt. Der Vorsitzende eröffnete die Versammlung und begrüßte alle Mitglieder. Das Protokoll
    wurde ohne Änderungen genehmigt. Der Schatzmeister erklärte, weshalb die Reisekosten gestiegen seien, und legte
    den Haushalt für das nächste Jahr vor. Das Wetter war rauh in den Bergen, und oft mußten wir stundenlang warten,
    bis sich der Nebel gelichtet hatte. Über Nacht fiel noch mehr Schnee.""",
    "fra": """Chère Madame, nous vous remercions de votre lettre de la semaine dernière. Nous regrettons que la livraison soit
    arrivée en retard et que deux des caisses aient été endommagées. Le remplacement a été expédié ce matin et
    devrait vous parvenir avant vendredi. Veuillez garder les anciens cartons jusqu'à ce que notre chauffeur soit
    passé les prendre. Notre bureau est ouvert tous les jours, même pendant l'été. Le patient a été vu à la
    consultation après l'opération. La plaie est sèche et guérit bien, il n'y a ni fièvre ni signe d'infection. La
    tension est normale. Les comprimés doivent être pris deux fois par jour avec de la nourriture; un contrôle aura
    lieu dans six semaines. Veuillez trouver ci-dessous notre facture pour la réparation du système de chauffage. Le
    montant est dû dans un délai de trente jours. La marchandise reste notre propriété jusqu'au paiement complet.
    Merci d'indiquer le numéro de client à chaque virement. La réunion du conseil s'est tenue dans la grande salle.
    Le président a ouvert la séance et souhaité la bienvenue à tous les membres. Le procès-verbal a été approuvé
    sans modification. Le trésorier a présenté le budget et expliqué pourquoi les frais de déplacement avaient
    augmenté. Le temps était rude dans les montagnes, et nous dûmes souvent attendre des heures entières que le
    brouillard se lève. La nuit, il neigea encore.""",
}
WORD_LISTS = {"eng": "en", "deu": "de", "fra": "fr"}


def texts(rng: random.Random, language: str) -> Iterator[str]:
    """Endless stretches of text of about 600 characters in one language."""
    own = " ".join(OWN_TEXTS[language].split()).split(". ")
    licences = [p for p in _licence_paragraphs() if 250 < len(p) < 900] if language == "eng" else []
    words = [w for w in top_n_list(WORD_LISTS[language], 20_000) if w.isalpha()]
    weights = [word_frequency(w, WORD_LISTS[language]) ** 0.6 for w in words]
    while True:
        kind = rng.random()
        if licences and kind < 0.5:
            yield rng.choice(licences)
        elif kind < 0.75:
            yield ". ".join(rng.sample(own, min(7, len(own)))) + "."
        else:
            drawn = rng.choices(words, weights, k=85)
            yield " ".join(w.capitalize() if rng.random() < 0.2 else w for w in drawn)


def _licence_paragraphs() -> list[str]:
    paragraphs = []
    for name in LICENCE_NAMES:
        path = LICENCES / name
        if path.is_file():
            content = path.read_text(encoding="utf-8", errors="ignore")
            paragraphs += [" ".join(p.split()) for p in content.split("\n\n")]
    return paragraphs


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def render(lines: list[str], rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """A page image of the lines: printed, made small, spoiled, enlarged again, as poor scans are."""
    size_px = rng.choice((16, 18, 20, 24))
    font = ImageFont.truetype(str(FONTS / f"{rng.choice(FONT_NAMES)}.ttf"), size_px)
    step = int(size_px * 1.55)
    width = int(max(font.getlength(line) for line in lines)) + 60
    page = Image.new("L", (width, 60 + len(lines) * step), 255)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((30, 30 + number * step), line, fill=rng.choice((0, 30, 70)), font=font)
    scale = rng.uniform(7.2, 10.5) / size_px
    small = page.resize((int(page.width * scale), int(page.height * scale)), Image.Resampling.BILINEAR)
    if rng.random() < 0.3:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.6)))
    pixels = np.asarray(small, dtype=np.float64)
    spoiled = np.clip(pixels + noise.normal(0, rng.uniform(4, 22), pixels.shape), 0, 255)
    if rng.random() < 0.2:  # a fax or a bilevel scan
        spoiled = np.where(spoiled > rng.uniform(140, 190), 255.0, 0.0)
    factor = rng.choice((2, 3))
    return Image.fromarray(spoiled.astype(np.uint8)).resize(
        (small.width * factor, small.height * factor), Image.Resampling.BICUBIC
    )


def fold(text: str) -> str:
    """NFC, white space folded."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def count(true: str, read: str, confusions: Counter[tuple[str, str]]) -> None:
    """Add what became of each one- and two-character segment of `true`."""
    groups: list[list[int]] = []
    for op in Levenshtein.opcodes(true, read):
        if op.tag == "equal":
            for a, b in zip(true[op.src_start : op.src_end], read[op.dest_start : op.dest_end], strict=True):
                confusions[a, b] += 1
            groups.append([])
        elif groups and groups[-1]:
            groups[-1][1], groups[-1][3] = op.src_end, op.dest_end
        else:
            groups.append([op.src_start, op.src_end, op.dest_start, op.dest_end])
    for group in filter(None, groups):
        before, after = true[group[0] : group[1]], read[group[2] : group[3]]
        if len(before) == len(after) <= 3:
            confusions.update(zip(before, after, strict=True))
        single = len(before) == len(after) == 1  # counted above
        if len(before) <= 2 and len(after) <= 2 and not single:
            confusions[before, after] += 1
    confusions["", ""] += len(true)
    for first, second in pairwise(true):
        confusions[first + second, first + second] += 1


def learn(pages: int, seed: int) -> tuple[Counter[tuple[str, str]], int, int]:
    """Counts of (true, read), characters of true text, and edit distance over all pages that were read."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    streams = {language: texts(rng, language) for language in OWN_TEXTS}
    engines = {language: tesserocr.PyTessBaseAPI(path=TESSDATA, lang=language) for language in OWN_TEXTS}
    confusions: Counter[tuple[str, str]] = Counter()
    characters = errors = 0
    for number in range(pages):
        language = rng.choices(("eng", "deu", "fra"), (3, 1, 1))[0]
        lines = wrap(next(streams[language]), LINE_CHARACTERS)
        old_print = rng.random() < 0.06  # the long s, which readers take for an f
        printed = [_with_long_s(line) for line in lines] if old_print else lines
        engine = engines[language]
        engine.SetImage(render(printed, rng, noise))
        true, read = fold("\n".join(lines)), fold(engine.GetUTF8Text())
        distance = Levenshtein.distance(true, read)
        if distance > 0.25 * len(true):  # lines were lost: nothing to align
            continue
        count(true, read, confusions)
        characters, errors = characters + len(true), errors + distance
        if number % 100 == 0:
            print(f"{number} pages, CER {errors / max(characters, 1):.2%}", file=sys.stderr)
    return confusions, characters, errors


def _with_long_s(line: str) -> str:
    following = [*line[1:], " "]
    return "".join("ſ" if c == "s" and n.isalpha() else c for c, n in zip(line, following, strict=True))


def write(path: Path, confusions: Counter[tuple[str, str]], *, head: list[str]) -> None:
    """The table: every right reading of a single character, and every confusion, with the right reading of its segment."""
    confused = {true for (true, read) in confusions if true != read}
    rows = sorted((t, r, n) for (t, r), n in confusions.items() if " " not in t + r and (len(t) < 2 or t in confused))
    body = [f"{true}\t{read}\t{n}" for true, read, n in rows if n > 0]
    path.write_text("\n".join([*(f"# {line}" for line in head), *body]) + "\n", encoding="utf-8")


def main() -> None:
    """Learn and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=900)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path("ocrwatch/correction/channel.tsv"))
    options = parser.parse_args()
    confusions, characters, errors = learn(options.pages, options.seed)
    head = [
        "What the reader made of segments of true text: true, read, count (tab-separated; an empty field is nothing).",
        f"Learned by bench/correction/learn_channel.py --pages {options.pages} --seed {options.seed}",
        f"from {characters} characters that it rendered in DejaVu fonts and degraded (CER {errors / characters:.2%}),",
        f"read by Tesseract {tesserocr.tesseract_version().split()[1]} (eng, deu, fra).",
        "Text: letters of the program's own, Debian's /usr/share/common-licenses, words drawn from wordfreq's lists.",
    ]
    write(options.output, confusions, head=head)


if __name__ == "__main__":
    main()
