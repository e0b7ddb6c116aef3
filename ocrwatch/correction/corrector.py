"""The corrector: one raw page to guarded edits. Owns when an edit is taken. Pure.

The noisy channel of Kernighan, Church and Gale (1990), with a language model that reads both sides: `survey` finds the places
that may be misread and asks the model about them, `weights` says how likely each option is in the light of all evidence,
the guard has the last word. Places that look right cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ocrwatch.correction import figures, rewrite
from ocrwatch.correction.candidates import Lexicon
from ocrwatch.correction.channel import Channel
from ocrwatch.correction.edits import Edit, Reason
from ocrwatch.correction.expecting import guesses
from ocrwatch.correction.judge import BEGINNING, Judge
from ocrwatch.correction.judging import judgements
from ocrwatch.correction.profiles import instruction
from ocrwatch.correction.protocol import Correction, CorrectionRequest, Mode, Refusal
from ocrwatch.correction.rewrite import Proposal, Written
from ocrwatch.correction.sites import Option, Site
from ocrwatch.correction.survey import Survey, survey
from ocrwatch.correction.weights import Weights, weights_for


class Writer(Protocol):
    """A language model that answers an instruction."""

    def write(self, instruction: str, text: str, *, max_tokens: int, expired: Callable[[], bool]) -> Written:
        """The answer, or why there is none."""
        ...


_REWRITE_MARGIN = 1.0
"""More log odds for what the model wrote: it likes its own words."""

_DOUBTFUL = -1.0
"""Log odds, less the margin, from which an edit that is not made is worth a person's look."""

_DOUBTFUL_SHARE = 0.02
_RULE_NATS = 10.0
"""The score of an edit that a rule makes, without a model: as sure as the surest."""

_MORE_TOKENS = 64


def correct_page(
    request: CorrectionRequest,
    *,
    judge: Judge,
    lexicon: Lexicon,
    channel: Channel,
    writer: Writer | None = None,
    weights: Weights | None = None,
    expired: Callable[[], bool] = lambda: False,
) -> Correction:
    """The edits of one page.

    writer: for `Mode.REWRITE`. expired: asked before each stretch of the page; once it says True the rest stays raw.
    Deterministic for the same request as long as `expired` never says True and the judge is deterministic.
    """
    weights = weights or weights_for(request.languages, covered=lexicon.covers)
    found = surveyed(request, judge=judge, lexicon=lexicon, channel=channel, weights=weights, expired=expired)
    page = _Page(request, found, judge=judge, weights=weights, expired=expired)
    if request.letter_to_digit:
        page.take_misread_digits()
    if found.is_foreign:
        page.leave("most words are in none of the page's languages; no word was touched")
    page.decide(found.sites)
    if request.mode is Mode.REWRITE and writer is not None:
        page.rewrite(writer)
    return page.result(suspicious=len(found.sites))


def surveyed(
    request: CorrectionRequest,
    *,
    judge: Judge,
    lexicon: Lexicon,
    channel: Channel,
    weights: Weights,
    expired: Callable[[], bool] = lambda: False,
) -> Survey:
    """The places of a page, with what the model itself would have expected among their options where the weights ask for that."""
    asks = bool(weights.guesses)
    return survey(
        request,
        lexicon=lexicon,
        channel=channel,
        foreign=weights.foreign,
        worth=lambda option: weights.before(option.evidence) > weights.least,
        guesses=guesses(request.text, lexicon=lexicon, judge=judge, prompt=BEGINNING, expired=expired) if asks else {},
    )


class _Page:
    """One page under correction."""

    def __init__(
        self, request: CorrectionRequest, found: Survey, *, judge: Judge, weights: Weights, expired: Callable[[], bool]
    ) -> None:
        self._request, self._found, self._judge, self._weights = request, found, judge, weights
        self._expired = expired
        self._prompt = f"{request.prompt}\n\n" if request.prompt else BEGINNING
        self._edits: list[Edit] = []
        self._refused: list[Refusal] = []
        self._scored = self._doubtful = 0
        self._truncated = False
        self._whys: list[str] = []

    def take_misread_digits(self) -> None:
        """The exception that needs no model: letters that were read into amounts, decimal numbers and dates."""
        for start, token in self._found.text.tokens():
            changed = figures.letter_to_digit(token)
            if changed is not None:
                self._edits.append(Edit(start, token, changed, Reason.LETTER_TO_DIGIT, _RULE_NATS))

    def decide(self, sites: Sequence[Site], *, margin: float = 0.0) -> None:
        """Put the places before the judge, and take the best option of each if it is good enough."""
        judged = 0
        for judgement in judgements(
            self._found.text, sites, self._judge, prompt=self._prompt, before=self._before, expired=self._expired
        ):
            judged += 1
            best, odds = self._weights.after([option.evidence for option in judgement.options])
            option = judgement.options[best]
            score = odds - self._weights.asked(self._request.caution, option.evidence) - margin
            if score > 0:
                self._edits.append(replace(option.edit, score=round(score, 2)))
            else:
                self._doubtful += score > _DOUBTFUL
                self._refuse(judgement.site, option)
        self._scored += judged
        if judged < len(sites):
            self._stop()

    def rewrite(self, writer: Writer) -> None:
        """Let the model propose, and judge each proposal."""
        sites: list[Site] = []
        for offset, text in rewrite.chunks(self._request.text):
            if not text.strip():
                continue
            if self._expired():
                self._stop()
                return
            told = instruction(self._request.prompt)
            answer = writer.write(told, text.rstrip(), max_tokens=len(text) // 2 + _MORE_TOKENS, expired=self._expired)
            corrected, why = rewrite.read_answer(text, answer)
            if why:
                self.leave(why)
            else:
                sites += filter(None, map(self._site, rewrite.proposals(text, corrected, offset=offset)))
        self.decide(sites, margin=_REWRITE_MARGIN)

    def leave(self, why: str) -> None:
        """Note, for people, why something stays as read."""
        self._whys.append(why)

    def result(self, *, suspicious: int) -> Correction:
        """The edits that the guard admits together."""
        kept, refused = self._found.guard.admit(self._edits)
        self._refused += [Refusal(r.edit.offset, r.edit.before, r.edit.after, r.why) for r in refused]
        return Correction(
            edits=tuple(kept),
            refused=tuple(sorted(self._refused, key=lambda r: r.offset)),
            truncated=self._truncated,
            review=self._truncated or self._doubtful > max(2.0, _DOUBTFUL_SHARE * self._found.pieces),
            suspicious=suspicious,
            scored=self._scored,
            why="; ".join(dict.fromkeys(self._whys)),
        )

    def _stop(self) -> None:
        """The time is up: what is not decided stays raw."""
        self._truncated = True
        self.leave("the time for this page was up; the rest stays as read")

    def _before(self, option: Option) -> float:
        return self._weights.before(option.evidence)

    def _refuse(self, site: Site, option: Option) -> None:
        """What the model wrote is listed when it is not taken."""
        if option.edit.reason is Reason.REWRITE:
            self._refused.append(Refusal(site.start, option.edit.before, option.edit.after, "is not likely enough"))

    def _site(self, proposal: Proposal) -> Site | None:
        """A place for what the model wrote; what the guard will not have is listed with its reason."""
        start, end = proposal.offset, proposal.offset + len(proposal.before)
        if any(e.offset < end and start < e.offset + len(e.before) for e in self._edits):
            return None  # the place is decided
        edit = Edit(start, proposal.before, proposal.after, Reason.REWRITE, 0.0)
        why = "adds or removes words" if not (proposal.before and proposal.after) else self._found.guard.objection(edit)
        if why is not None:
            self._refused.append(Refusal(start, proposal.before, proposal.after, why))
            return None
        return Site(start, end, proposal.before, (self._found.finder.proposed(edit),))
