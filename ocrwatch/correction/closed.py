"""Closed groups of words that look alike and must not be taken for one another: number words, months, titles, negations, units,
currencies. Pure. The groups of all languages hold at once, because a scan may hold several.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rapidfuzz.distance import Levenshtein

_NUMBERS = (
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fourty fifty sixty seventy eighty ninety hundred hundreds thousand thousands
    million millions billion billions trillion trillions dozen dozens once twice thrice first third fourth fifth sixth
    seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth
    nineteenth twentieth thirtieth half quarter double triple
    """,
    """
    null zwei zwo drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn
    achtzehn neunzehn zwanzig dreißig dreissig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend millionen
    milliarde milliarden billionen erste ersten zweite zweiten dritte dritten vierte vierten fünfte fünften sechste
    sechsten siebte siebten achte achten neunte neunten zehnte zehnten halb halbe viertel
    """,
    """
    zéro deux trois quatre cinq sept huit neuf dix onze douze treize quatorze quinze seize vingt trente quarante cinquante
    soixante septante huitante octante nonante cent cents mille milliard milliards premier première deuxième troisième
    quatrième cinquième sixième septième huitième neuvième dixième
    """,
    """
    cero dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince veinte treinta cuarenta cincuenta
    sesenta setenta ochenta noventa ciento cientos mil millón millones primero segundo tercero
    """,
    """
    uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici venti trenta
    quaranta cinquanta sessanta settanta ottanta novanta mila milione milioni miliardo miliardi
    """,
    """
    nula jeden dva tři čtyři pět šest sedm osm devět deset jedenáct dvanáct třináct čtrnáct patnáct šestnáct sedmnáct
    osmnáct devatenáct dvacet třicet čtyřicet padesát šedesát sedmdesát osmdesát devadesát sto sta tisíc tisíce milion
    milionů miliarda
    """,
    """
    dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć jedenaście dwanaście trzynaście czternaście piętnaście
    szesnaście siedemnaście osiemnaście dziewiętnaście dwadzieścia trzydzieści czterdzieści pięćdziesiąt sześćdziesiąt
    siedemdziesiąt osiemdziesiąt dziewięćdziesiąt sta tysiąc tysiące tysięcy milionów miliard
    """,
    """
    een twee drie vijf zes zeven negen tien elf twaalf dertien veertien vijftien zestien zeventien achttien negentien
    twintig dertig veertig vijftig zestig zeventig tachtig negentig honderd duizend miljoen miljard
    """,
    "dois três quatro seis sete oito vinte trinta quarenta cinquenta cem milhão milhões",
    "mio mia mrd mill tsd mln mld mlr mlrd bln bn mn",
)
_CALENDARS = (
    """
    january february april june july august september october november december monday tuesday wednesday thursday friday
    saturday sunday
    """,
    """
    januar jänner februar feber märz maerz juni juli oktober dezember montag dienstag mittwoch donnerstag freitag samstag
    sonnabend sonntag
    """,
    """
    janvier février avril juin juillet août septembre octobre novembre décembre lundi mardi mercredi jeudi vendredi samedi
    dimanche
    """,
    """
    enero febrero abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes martes miércoles jueves
    viernes sábado domingo
    """,
    """
    gennaio febbraio aprile maggio giugno luglio settembre ottobre novembre dicembre lunedì martedì mercoledì giovedì
    venerdì sabato domenica
    """,
    """
    leden února únor březen března duben dubna květen května červen června červenec července srpen srpna září říjen října
    listopad listopadu prosinec prosince pondělí úterý středa čtvrtek pátek sobota neděle
    """,
    """
    styczeń stycznia luty lutego marzec marca kwiecień kwietnia maj maja czerwiec czerwca lipiec lipca sierpień sierpnia
    wrzesień września październik października listopada grudzień grudnia poniedziałek wtorek środa czwartek piątek
    niedziela
    """,
    "januari februari maart juni augustus maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    """
    today tomorrow yesterday heute morgen gestern hier demain aujourd'hui week weeks month months year years day days hour
    hours minute minutes
    """,
    # The forms of one word are in groups of their own: they are told apart by grammar, and mean the same time.
    "tag woche monat jahr stunde minute quartal",
    "tage wochen monate jahre stunden minuten quartale",
    "tagen monaten jahren quartalen",
    "jour semaine année heure trimestre",
    "jours semaines années heures minutes trimestres",
    "giorno settimana mese anno ora minuto",
    "giorni settimane mesi anni ore minuti",
    "día semana año hora minuto",
    "días semanas meses años horas minutos",
    "den týden měsíc rok hodina minuta",
    "dny dnů dní týdny měsíce měsíců roky hodiny hodin minuty minut",
    "dzień tydzień miesiąc godzina",
    "dni tygodnie miesiące miesięcy lata godziny godzin",
    "dag weken maand jaar uur uren dagen maanden jaren",
)
_CALENDAR_CAPITALIZED = (
    "May March Mai Mars Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Okt Nov Dec Dez Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun"
)
_MEASURES = (
    """gram grams gramme grammes milligram milligrams microgram micrograms kilogram kilograms litre litres liter liters
    millilitre millilitres milliliter milliliters metre metres meter meters millimetre millimetres centimetre
    centimetres kilometre kilometres millimeter centimeter kilometer inch inches foot feet yard yards mile miles pound
    pounds ounce ounces ton tons tonne tonnes gramm milligramm mikrogramm kilogramm kilo kilos zentimeter kilomètre
    kilomètres kilogrammes""",
    """euro euros dollar dollars pound sterling franc francs franken cent cents penny pence shilling shillings schilling
    rappen centime centimes koruna korun kč zł złoty złotych groszy mark pfennig peso pesos yen yuan krona kronor krone
    kroner rupee rupees gulden forint lei lira debit credit soll haben plus minus netto brutto net gross""",
    "percent permille prozent promille pourcent procent procento procenta",
)
_UNIT_SIGNS = """
mg ug µg μg mcg kg hg dag ml cl dl hl mm cm dm km nm lb lbs oz ft yd kw kwh mw mwh hz khz mhz ghz kb mb gb tb mmol mol
kcal cal kj
"""
_CURRENCY_CODES = """
EUR USD GBP CHF JPY CNY CZK PLN HUF SEK NOK DKK RON BGN INR AUD CAD NZD ZAR BRL MXN RUB TRY ILS HKD SGD KRW DEM FRF
ITL ATS NLG ESP PTE
"""
_OTHERS = (
    """mr ms mrs miss mister dr prof sir madam herr herrn frau fräulein monsieur madame mademoiselle mme mlle sr sra
    señor señora pan pani signor signora""",
    """not now nor no none non never ever nothing note nicht nichts nie niemals kein keine keinen keiner keinem mein
    meine meinen meiner dein deine sein seine ne pas plus jamais rien sans nic nikdy niets niet geen nada nunca""",
    "with without within mit ohne avec sans con sin senza bez",
    "left right links rechts gauche droite",
    """can cannot can't could couldn't will won't would wouldn't do don't does doesn't did didn't is isn't was wasn't
    are aren't were weren't has hasn't""",
    "hyper hypo hypertension hypotension hyperglycemia hypoglycemia increase decrease increased decreased accept except",
)
_COMPOUNDS = tuple(
    re.compile(f"(?:{parts})+")
    for parts in (
        "ein|eine|zwei|zwo|drei|vier|fünf|sechs|sech|sieben|sieb|acht|neun|zehn|elf|zwölf|zwan|und|zig|ßig|ssig|hundert|tausend|te|ten|ter"
        "|tes|mal|mals|fach",
        "uno?|due|tre|tré|quattro|cinque|sei|sette|otto|nove|dieci|undici|dodici|tredici|quattordici|quindici|sedici|venti?|trenta?|quaranta?"
        "|cinquanta?|sessanta?|settanta?|ottanta?|novanta?|cento?|mille|mila",
        "jeden|jedna|dva|dvě|tři|čtyři|čtyr|pět|šest|sedm|osm|devět|deset|a|dvacet|třicet|čtyřicet|padesát|šedesát|sedmdesát|osmdesát|devadesát|sto"
        "|stě|sta|set|tisíc",
        "dwie|trzy|cztery|pięć|sześć|siedem|osiem|dziewięć|ście|sta|set",
        "een|twee|drie|vier|vijf|zes|zeven|acht|negen|tien|elf|twaalf|dertien|veertien|en|ën|twintig|dertig|veertig|vijftig|zestig|zeventig|tachtig"
        "|negentig|honderd|duizend",
        "veinti|veintiún|uno?|dós?|dos|trés?|tres|cuatro|cinco|quin|séis|seis|siete|sete|ocho|nueve|nove|cientos|cientas",
    )
)
"""Numbers in one word: German, Italian, Czech, Polish, Dutch, Spanish."""


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


_NEGATING = _words("un in im ir il non dis mis a an anti ab ne nie miss ent dés dé sub inter intra hyper hypo pre post")
_SHORTEST_NEGATED = 5
"""Letters that stay after a prefix, at least, for the two words to be opposites (`asymptomatic`, not `about`)."""

_SHORTEST_BARE = 4
"""The same, where nothing but the prefix comes or goes (`unpaid`, not `into`)."""

GROUPS: tuple[frozenset[str], ...] = tuple(map(_words, (*_NUMBERS, *_CALENDARS, *_MEASURES, _UNIT_SIGNS, *_OTHERS)))
"""Words of one language that must not be taken for one another."""

CAPITALIZED = _words(_CALENDAR_CAPITALIZED)
"""Months and days that are other words when written small (`may`, `sun`)."""

SIGNS = _words(_UNIT_SIGNS)
"""Signs of units: as good as a part of a number. None is ever made, out of whatever was read."""

CODES = _words(_CURRENCY_CODES)
"""Codes of currencies, in capitals; the same holds."""

_SHAPES = {"li": "h", "rn": "m", "cl": "d", "vv": "w", "ii": "u", "e": "c", "j": "i", "l": "i"}
"""What is taken for one another, made one, in this order."""

_LOOKS_ALIKE = 0.5
"""What words of one shape are apart."""

_ROMAN = re.compile("(?=.)M{0,4}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,4})")


def is_roman(word: str) -> bool:
    """True for a Roman numeral in capitals."""
    return bool(_ROMAN.fullmatch(word))


def is_closed(word: str) -> bool:
    """True for a word of a closed group, a Roman numeral, or a number in one word: it is never edited."""
    return bool(_groups(word)) or word in CODES or is_roman(word) or _is_compound(word)


def may_become(before: str, after: str, is_word: Callable[[str], bool]) -> bool:
    """Whether `after` may stand for `before`: no closed word goes, and one comes only for what is no word (`fivc`, not `fire`)
    and when no other of its group is as near.

    is_word: whether a word is in a list; an opposite that is no word is no rival.
    """
    if before == after:
        return True
    if is_closed(before) or is_roman(after) or _is_compound(after) or _is_negation(before, after, is_word):
        return False
    if after in CODES or after.casefold() in SIGNS:
        return False
    groups = _groups(after)
    if groups and is_word(before):
        return False
    return not any(
        _unlikeness(before, other) <= _unlikeness(before, after)
        for group in groups
        for other in group
        if other.casefold() != after.casefold()
    )


def _unlikeness(read: str, word: str) -> float:
    """Changed characters; less where the two look alike."""
    first, second = read.casefold(), word.casefold()
    return min(Levenshtein.distance(first, second), Levenshtein.distance(_shape(first), _shape(second)) + _LOOKS_ALIKE)


def _shape(word: str) -> str:
    for letters, one in _SHAPES.items():
        word = word.replace(letters, one)
    return word


def _groups(word: str) -> list[frozenset[str]]:
    folded = word.casefold().replace("’", "'")
    found = [group for group in GROUPS if folded in group]
    if word in CAPITALIZED or (word.isupper() and word.capitalize() in CAPITALIZED):
        found.append(CAPITALIZED)
    return found


def _is_compound(word: str) -> bool:
    return len(word) > 6 and any(compound.fullmatch(word.casefold()) for compound in _COMPOUNDS)


def _is_negation(before: str, after: str, is_word: Callable[[str], bool]) -> bool:
    """Whether a negating prefix or ending comes or goes, in a word that may be misread besides."""
    first, second = before.casefold(), after.casefold()
    shorter, longer = sorted((first, second), key=len)
    if longer.endswith(("n't", "n’t")) and not shorter.endswith(("n't", "n’t")):
        return True
    if any(longer == prefix + shorter for prefix in _NEGATING) and len(shorter) >= _SHORTEST_BARE:
        return is_word(shorter) and is_word(longer)
    distance = Levenshtein.distance(first, second)
    return any(
        longer.startswith(prefix)
        and not shorter.startswith(prefix)
        and len(longer) - len(prefix) >= _SHORTEST_NEGATED
        and Levenshtein.distance(longer[len(prefix) :], shorter) < distance
        and is_word(second.removeprefix(prefix) if longer == second else prefix + second)
        for prefix in _NEGATING
    )
