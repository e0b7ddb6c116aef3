"""Language codes: ISO 639-1 and -3 on our side, each engine's own names on the other. Pure; knows no engine.

The table has the languages that one of the engines reads. Aspose has a name here only where its package holds the model:
the others it would download at run time, which ocrwatch does not let it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache

from ocrwatch.errors import MissingPart, UsageError


@dataclass(frozen=True)
class Language:
    """One language. code: the canonical one, ISO 639-1 where it exists. tesseract, aspose: the engine's name, or None."""

    code: str
    name: str
    tesseract: str | None
    aspose: str | None


def canonical(code: str) -> str:
    """The code in its canonical form: `deu`, `ger` and `DE` are `de`, `grc` stays. Raises UsageError, with a suggestion."""
    return find(code).code


def find(code: str) -> Language:
    """The language of a code in ISO 639-1, 639-2 or 639-3. Raises UsageError, with a suggestion."""
    known = _by_code()
    language = known.get(code.strip().lower().replace("_", "-"))
    if language is None:
        raise UsageError(f"unknown language {code!r}", _suggestion(code))
    return language


def tesseract_name(code: str) -> str:
    """Tesseract's name of a language: `chi_sim` for `zh`. Raises UsageError or, where Tesseract has none, MissingPart."""
    language = find(code)
    if language.tesseract is None:
        raise MissingPart(f"Tesseract has no data for {language.name} ({language.code})", "recognize it with Aspose")
    return language.tesseract


def aspose_name(code: str) -> str:
    """Aspose's name of a language: `DEU` for `de`. Raises UsageError or, where its package has no model, MissingPart."""
    language = find(code)
    if language.aspose is None:
        raise MissingPart(
            f"the Aspose package holds no model for {language.name} ({language.code}); it would download one at run time",
            "recognize it with Tesseract",
        )
    return language.aspose


def debian_package(tesseract: str) -> str:
    """The package with Tesseract's data of this name: `tesseract-ocr-chi-sim` for `chi_sim`."""
    return "tesseract-ocr-" + tesseract.replace("_", "-").lower()


def codes_of_tesseract(names: set[str]) -> tuple[str, ...]:
    """The canonical codes that Tesseract can read with the data of these names."""
    return tuple(sorted({language.code for language in _by_code().values() if language.tesseract in names}))


def codes_of_aspose() -> tuple[str, ...]:
    """The canonical codes that the Aspose package can read as it comes."""
    return tuple(sorted({language.code for language in _by_code().values() if language.aspose is not None}))


def _suggestion(code: str) -> str:
    wanted = code.strip().lower()
    names = {language.name.lower(): language.code for language in _by_code().values()}
    if wanted in names:
        return f"did you mean `{names[wanted]}`?"
    # A slip in a name is recognized by its letters; between two- and three-letter codes likeness says nothing.
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75) if len(wanted) > 3 else []
    return f"did you mean `{names[close[0]]}`?" if close else "use an ISO 639 code such as `en`, `de` or `fra`"


@cache
def _by_code() -> dict[str, Language]:
    found: dict[str, Language] = {}
    for line in _TABLE.strip().splitlines():
        iso_1, iso_3, tesseract, aspose, name = line.split()
        codes = [code for code in (iso_1, *iso_3.split(",")) if code != "-"]
        language = Language(codes[0], name.replace("_", " "), _or_none(tesseract), _or_none(aspose))
        found |= dict.fromkeys(codes, language)
    return found


def _or_none(field: str) -> str | None:
    return None if field == "-" else field


# ISO 639-1; 639-3 and the other form of 639-2; Tesseract; Aspose; name. A hyphen: there is none.
_TABLE = """
af afr afr AFR Afrikaans
- aln - ALN Gheg_Albanian
am amh amh - Amharic
ar ara ara - Arabic
as asm asm - Assamese
az aze aze - Azerbaijani
- bcl - BCL Central_Bikol
be bel bel - Belarusian
- bem - BEM Bemba
- bew - BEW Betawi
bg bul bul - Bulgarian
- bhr - BHR Bara_Malagasy
bn ben ben - Bengali
bo bod,tib bod - Tibetan
br bre bre - Breton
bs bos bos BOS Bosnian
ca cat cat CAT Catalan
- ccx - CCX Northern_Zhuang
- ceb ceb CEB Cebuano
- chr chr - Cherokee
co cos cos - Corsican
cs ces,cze ces CES Czech
cy cym,wel cym - Welsh
da dan dan DAN Danish
de deu,ger deu DEU German
- diq - DIQ Dimli
- doc - DOC Northern_Dong
dv div div - Divehi
dz dzo dzo - Dzongkha
el ell,gre ell - Greek
en eng eng ENG English
- enm enm - Middle_English
eo epo epo - Esperanto
es spa spa SPA Spanish
et est est EST Estonian
eu eus,baq eus - Basque
fa fas,per fas - Persian
fi fin fin FIN Finnish
- fil fil - Filipino
fo fao fao - Faroese
fr fra,fre fra FRA French
- frk frk - Fraktur
- frm frm - Middle_French
fy fry fry - Western_Frisian
ga gle gle - Irish
- gax - GAX Borana-Arsi-Guji_Oromo
gd gla gla - Scottish_Gaelic
gl glg glg GLG Galician
- grc grc - Ancient_Greek
gu guj guj - Gujarati
- guz - GUZ Ekegusii
ha hau - HAU Hausa
he heb heb - Hebrew
hi hin hin - Hindi
- hil - HIL Hiligaynon
hr hrv hrv HRV Croatian
ht hat hat - Haitian
hu hun hun HUN Hungarian
hy hye,arm hye - Armenian
id ind ind IND Indonesian
- ilo - ILO Iloko
is isl,ice isl - Icelandic
it ita ita ITA Italian
iu iku iku - Inuktitut
ja jpn jpn - Japanese
jv jav jav - Javanese
ka kat,geo kat - Georgian
kg kon - KON Kongo
kk kaz kaz - Kazakh
- kln - KLN Kalenjin
km khm khm - Khmer
kn kan kan - Kannada
- knc - KNC Central_Kanuri
ko kor kor - Korean
- kmr kmr KMR Kurmanji
ky kir kir - Kyrgyz
la lat lat - Latin
lb ltz ltz - Luxembourgish
lo lao lao - Lao
lt lit lit LIT Lithuanian
- luo - LUO Luo
lv lav lav LAV Latvian
- mak - MAK Makasar
- mer - MER Meru
mi mri,mao mri - Maori
- min - MIN Minangkabau
mk mkd,mac mkd - Macedonian
ml mal mal - Malayalam
mn mon mon - Mongolian
mr mar mar - Marathi
ms msa,may msa MLY Malay
mt mlt mlt - Maltese
- mui - MUI Musi
my mya,bur mya - Burmese
nb nob nor NOR Norwegian_Bokmål
- nds - NDS Low_German
ne nep nep - Nepali
nl nld,dut nld NLD Dutch
nn nno nor NOR Norwegian_Nynorsk
no nor nor NOR Norwegian
nr nbl - NBL South_Ndebele
- nso - NSO Northern_Sotho
ny nya - NYA Nyanja
oc oci oci - Occitan
or ori ori - Oriya
pa pan pan - Punjabi
- pag - PAG Pangasinan
- pam - PAM Pampanga
- pcc - PCC Bouyei
pl pol pol POL Polish
ps pus pus - Pashto
pt por por POR Portuguese
qu que que - Quechua
- quc - QUC Kiche
- qxa - QXA Chiquián_Ancash_Quechua
ro ron,rum ron RON Romanian
ru rus rus - Russian
- ruf - RUF Luguru
rw kin - KIN Kinyarwanda
sa san san - Sanskrit
- sas - SAS Sasak
sd snd snd - Sindhi
sh hbs - HBS Serbo-Croatian
si sin sin - Sinhala
sk slk,slo slk SLK Slovak
sl slv slv SLV Slovenian
sn sna - SNA Shona
so som - SOM Somali
sq sqi,alb sqi - Albanian
sr srp srp - Serbian
- srr - SRR Serer
ss ssw - SSW Swati
st sot - SOT Southern_Sotho
su sun sun SUN Sundanese
- suk - SUK Sukuma
sv swe swe SWE Swedish
sw swa swa SWH Swahili
- syr syr - Syriac
ta tam tam - Tamil
te tel tel - Telugu
tg tgk tgk - Tajik
th tha tha - Thai
ti tir tir - Tigrinya
tk tuk - TUK Turkmen
tl tgl - TGL Tagalog
tn tsn - TSN Tswana
to ton ton - Tonga
- toi - TOI Tonga_of_Zambia
tr tur tur TUR Turkish
ts tso - TSO Tsonga
tt tat tat - Tatar
- tum - TUM Tumbuka
ug uig uig - Uyghur
uk ukr ukr - Ukrainian
- umb - UMB Umbundu
ur urd urd - Urdu
uz uzb uzb - Uzbek
vi vie vie VIE Vietnamese
- vmw - VMW Makhuwa
- wal - WAL Wolaytta
- war - WAR Waray
xh xho - XHO Xhosa
- yao - YAO Yao
yi yid yid - Yiddish
yo yor yor YOR Yoruba
zh zho,chi chi_sim - Chinese
zh-hant - chi_tra - Traditional_Chinese
zu zul - ZUL Zulu
"""
