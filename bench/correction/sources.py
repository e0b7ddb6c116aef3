"""Where the training pages get their material: running text, fonts and Tesseract's languages out of Debian packages.

Owns which packages, unpacking them into a cache folder (nothing is installed), and what of their text counts as prose. The
texts stay in the cache: what ships are statistics of how an engine misread them. Licence texts that `bench.correction.run`
measures on are left out wherever a package quotes them.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from wordfreq import zipf_frequency

LANGUAGES = ("en", "de", "fr", "pl", "es", "it", "cs")
PACKAGES = (
    *("fortunes", "fortunes-min", "anarchism", "jargon-text", "dict-devil", "debian-handbook"),
    *("fortunes-de", "fortunes-pl", "fortunes-es", "fortunes-it", "fortunes-cs", "aptitude-doc-cs"),
    *("debian-reference-de", "debian-reference-fr", "debian-reference-es", "debian-reference-it"),
    *("libreoffice-help-pl", "libreoffice-help-cs", "libreoffice-help-fr", "debian-edu-doc-fr"),
    *("fonts-dejavu-core", "fonts-dejavu-extra", "fonts-liberation", "fonts-freefont-ttf", "fonts-linuxlibertine"),
    *("fonts-courier-prime", "fonts-oldstandard", "fonts-sil-gentium-basic", "fonts-crosextra-carlito"),
    *("fonts-crosextra-caladea", "fonts-roboto-slab"),
    *(f"tesseract-ocr-{name}" for name in ("eng", "deu", "fra", "pol", "spa", "ita", "ces", "osd")),
)
TESSDATA = Path("usr/share/tesseract-ocr/5/tessdata")

_GAMES, _DOC, _HELP = "usr/share/games/fortunes", "usr/share/doc", "usr/share/libreoffice/help"
_HANDBOOK, _REFERENCE = f"{_DOC}/debian-handbook/html", "usr/share/debian-reference"
# Of each language: patterns of files, with the share of the pages that is drawn from them. Old and plain prose counts for more
# than manuals: it is what scans hold.
_TEXTS: dict[str, dict[str, float]] = {
    "en": {
        f"{_GAMES}/[a-z]*": 4,
        f"{_DOC}/anarchism/html/*.html": 3,
        f"{_HANDBOOK}/en-US/*.html": 1,
        "usr/share/dictd/devil.dict.dz": 1,
        f"{_DOC}/jargon-text/jargon.txt.gz": 1,
    },
    "de": {f"{_GAMES}/de/*": 3, f"{_HANDBOOK}/de-DE/*.html": 1, f"{_REFERENCE}/*.de.html": 1},
    "fr": {f"{_HANDBOOK}/fr-FR/*.html": 2, f"{_DOC}/debian-edu-doc-fr/**/*.html": 1, f"{_HELP}/fr/**/*.html": 1},
    "es": {f"{_GAMES}/es/*": 3, f"{_HANDBOOK}/es-ES/*.html": 1, f"{_REFERENCE}/*.es.html": 1},
    "it": {f"{_GAMES}/it/*": 3, f"{_HANDBOOK}/it-IT/*.html": 1, f"{_REFERENCE}/*.it.html": 1},
    "cs": {f"{_GAMES}/cs/*[!k]": 3, f"{_DOC}/aptitude/html/cs/*.html": 1, f"{_HELP}/cs/**/*.html": 1},
    "pl": {f"{_GAMES}/pl/*": 2, f"{_HANDBOOK}/pl-PL/*.html": 1, f"{_HELP}/pl/**/*.html": 1},
}
_MEASURED_LICENCES = ("GPL-3", "Artistic", "Apache-2.0", "GFDL-1.3", "MPL-2.0")
_LICENCES = Path("/usr/share/common-licenses")
_SHINGLE_WORDS = 7
_BLOCKS = re.compile(r"</?(?:p|div|li|dd|dt|h\d|td|th|tr|ul|ol|pre|blockquote|br|title|script|style|a name)\b[^>]*>", re.I)
_FITTING = re.compile(r"""["'„“”«»‘’(]?[^\W\d_][\w .,;:!?'"()%$£€§&„“”‚‘’«»…–—-]{78,1400}[.!?]["'”“«»’)]?""")
_MANY_PARAGRAPHS = 6000  # of one pattern
# Some wrote without the accents of their language; a scan of a book or a letter has them.
_ACCENTED_SHARE = {"pl": 0.025, "cs": 0.05, "de": 0.004, "fr": 0.01, "es": 0.004}
_APOSTROPHES_FOR_ACCENTS = re.compile(r"\w?[aeiou]['´`](?:\W|$)")


def fetch(cache: Path) -> Path:
    """The folder with the unpacked packages; made once. Raises CalledProcessError where apt or dpkg cannot do it."""
    root = cache / "root"
    for package in PACKAGES:
        mark = cache / "unpacked" / package
        if not mark.exists():
            debs = cache / "debs" / package
            for folder in (root, debs, mark.parent):
                folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", "-qq", package], cwd=debs, check=True)
            for deb in debs.glob("*.deb"):
                subprocess.run(["dpkg", "-x", deb, root], check=True)
                deb.unlink()
            mark.touch()
    return root


def prose(cache: Path, language: str) -> list[tuple[float, list[str]]]:
    """Paragraphs of running text in their order, by source, each with the source's share; kept in the cache."""
    kept = cache / "prose" / f"{language}.json"
    if not kept.is_file():
        root, forbidden = fetch(cache), set(_measured_shingles())
        found = []
        for pattern, share in _TEXTS[language].items():
            paragraphs = dict.fromkeys(p for p in _paragraphs(root, pattern) if _is_prose(p, language))
            chosen = [p for p in paragraphs if not forbidden & set(_shingles(p))]
            found.append((share, chosen[:: max(1, len(chosen) // _MANY_PARAGRAPHS)]))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return [(share, paragraphs) for share, paragraphs in json.loads(kept.read_text(encoding="utf-8")) if paragraphs]


def _paragraphs(root: Path, pattern: str) -> Iterator[str]:
    for path in sorted(root.glob(pattern)):
        if path.is_file() and path.suffix not in {".dat", ".u8"}:
            raw = gzip.decompress(path.read_bytes()) if path.suffix in {".gz", ".dz"} else path.read_bytes()
            yield from _split(raw.decode("utf-8", errors="ignore"), is_html=path.suffix == ".html")


def _split(content: str, *, is_html: bool) -> Iterator[str]:
    """Paragraphs on one line each; of sayings without the line that tells who said them."""
    if is_html:
        parts = [html.unescape(re.sub(r"<[^>]+>", "", part)) for part in _BLOCKS.split(content)]
    else:
        sayings = re.sub(r"\n\s*(?:--|—).*", "", content).replace("\x08", "")
        parts = re.split(r"\n(?:%\n|\s*\n)", sayings)
    for part in parts:
        yield unicodedata.normalize("NFC", " ".join(part.split()))


def _is_prose(paragraph: str, language: str) -> bool:
    """Whether it is whole sentences, in this language rather than in another."""
    if not _FITTING.fullmatch(paragraph):
        return False
    words = re.findall(r"[^\W\d_]+", paragraph.lower())
    letters = sum(map(len, words))
    accented = sum(not character.isascii() for word in words for character in word)
    if letters < 0.74 * len(paragraph) or accented < _ACCENTED_SHARE.get(language, 0.0) * letters:
        return False
    if language == "it" and _APOSTROPHES_FOR_ACCENTS.search(paragraph):
        return False
    known = {other: sum(zipf_frequency(word, other) for word in words) / len(words) for other in LANGUAGES}
    return known[language] > 3.9 and max(known, key=lambda other: known[other]) == language


def _measured_shingles() -> Iterator[str]:
    for name in _MEASURED_LICENCES:
        yield from _shingles((_LICENCES / name).read_text(encoding="utf-8", errors="ignore"))


def _shingles(text: str) -> Iterable[str]:
    words = re.findall(r"\w+", text.lower())
    return (" ".join(words[at : at + _SHINGLE_WORDS]) for at in range(len(words) - _SHINGLE_WORDS + 1))
