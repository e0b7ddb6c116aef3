"""`ocrwatch report`: a day's files, or a folder's, as one page of HTML to read in a browser."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from ocrwatch import composition, config, direct
from ocrwatch.cli_options import config_option, progress_bar, settings_if_any
from ocrwatch.errors import ShareOffline, UsageError
from ocrwatch.intake.mounts import contains, read_mounts, resolve
from ocrwatch.journal.journal import Journal
from ocrwatch.report import gather, saving
from ocrwatch.report.compose import Composer
from ocrwatch.report.content import Collection, FileResult, Place
from ocrwatch.report.page import Heading
from ocrwatch.report.pictures import PictureMaker, picture_worker
from ocrwatch.report.reaching import Reaching
from ocrwatch.scratch import scratch
from ocrwatch.service.logs import printable
from ocrwatch.settings import Configuration

_MOST_FILES = 2000
_READERS = {
    "0600": "only its owner can read it (mode 0600)",
    "0640": "its owner and its group can read it (mode 0640)",
    "0644": "everybody on this machine can read it (mode 0644)",
}
_path = click.Path(path_type=Path)


@click.command()
@click.argument("folder", required=False, type=_path)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="What was finished on that day (default: today).")
@click.option("-o", "--output", "destination", type=_path, help="The file to write (default: in the current folder).")
@click.option("--scans", type=_path, help="Where the scans are, if neither beside their texts nor in an inbox.")
@click.option("--pages", "most_pages", type=click.IntRange(1, 10_000), default=500, show_default=True, help="At most so many.")
@click.option("--mode", type=click.Choice(list(_READERS)), default="0600", show_default=True, help="Who may read the file.")
@config_option
def report(
    folder: Path | None,
    day: datetime | None,
    destination: Path | None,
    scans: Path | None,
    most_pages: int,
    mode: str,
    config_path: Path | None,
) -> None:
    """Write one HTML page that shows each page's image beside its text, what to review first.

    Of a day, as the daemon's journal has it, or of a FOLDER with texts that ocrwatch wrote. The page needs no network. It holds
    what the documents say, so the file is for you alone unless --mode says otherwise.
    """
    if folder is not None and day is not None:
        raise UsageError("a report is of a day or of a folder", "leave one of them out")
    wall_clock = time.time  # noqa: TID251 - the command line hands it out
    now = datetime.fromtimestamp(wall_clock(), UTC).astimezone()
    wanted = day.date() if day else now.date()
    settings = config.load(config_path or config.default_path()) if folder is None else settings_if_any(config_path)
    name = f"ocrwatch-report-{wanted}.html" if folder is None else "ocrwatch-report.html"
    path = Path(os.path.abspath(destination)) if destination else _default_path(name, folder, settings)
    replaces = saving.earlier(path)
    collection = Collection(_MOST_FILES)
    elsewhere = _whereabouts(settings, scans)
    with _tools(settings) as (parts, reaching, maker):
        if folder is not None:
            whole_path = os.path.abspath(folder)
            subject = f"Scans in {whole_path}"
            found = gather.in_folder(whole_path, reaching=reaching, elsewhere=elsewhere, unlisted=collection.could_not_list)
        else:
            subject = f"Scans finished on {wanted}"
            found = _of_day(wanted, settings, wall_clock=wall_clock, reaching=reaching, elsewhere=elsewhere)
        for file in found:
            collection.add(file)
        heading = Heading(subject=subject, made=f"{now:%Y-%m-%d %H:%M %Z}", readers=_READERS[mode])
        with progress_bar("pages") as progress:
            composer = Composer(parts, reaching=reaching, maker=maker)
            whole, pages = composer.write(heading, collection, most_pages=most_pages, progress=progress)
        saving.save(path, whole, mode=int(mode, 8), replaces=replaces)
    _tell(path, collection, pages, readers=_READERS[mode])


def _tell(path: Path, collection: Collection, pages: int, *, readers: str) -> None:
    sums = collection.figures
    of = f"{pages} of {sums.pages}" if pages < sums.pages else str(pages)
    told = f"{sums.files} files ({sums.failed} failed), {of} pages ({sums.to_review} to review)"
    click.echo(f"{printable(str(path))}: {told}; {readers}")


@contextlib.contextmanager
def _tools(settings: Configuration | None) -> Iterator[tuple[Path, Reaching, PictureMaker]]:
    """A folder for the parts of a report, a way to the texts and scans, and who draws these. All gone afterwards."""
    spec = picture_worker((settings or direct.bare_settings()).ocr.page_memory)
    with scratch() as parts, Reaching.by_mounts(time.monotonic) as reaching, PictureMaker(reaching, parts, spec=spec) as maker:
        yield parts, reaching, maker


def _default_path(name: str, folder: Path | None, settings: Configuration | None) -> Path:
    """In the current folder, unless that belongs to an inbox or to what the report is of: others read there."""
    here = os.getcwd()
    owned = [place.path for place in composition.places(settings)] if settings else []
    owned += [os.path.abspath(folder)] if folder is not None else []
    table = read_mounts()
    for place in owned:
        with contextlib.suppress(ShareOffline):  # a path that leads nowhere is not where we are
            if contains(resolve(place, table), here):
                raise UsageError(f"the report would stand in {place}, where others may read it", "name a file elsewhere with -o")
    return Path(here) / name


def _of_day(
    day: date,
    settings: Configuration | None,
    *,
    wall_clock: Callable[[], float],
    reaching: Reaching,
    elsewhere: gather.Whereabouts,
) -> Iterator[FileResult]:
    assert settings is not None
    since, until = (datetime.combine(each, datetime.min.time()).astimezone() for each in (day, day + timedelta(days=1)))
    journal = Journal(settings.state_dir / "journal.db", wall_clock=wall_clock, read_only=True)
    try:
        jobs = journal.finished_between(since.timestamp(), until.timestamp())
    finally:
        journal.close()
    bases = {inbox.name: (str(inbox.path), str(inbox.output.directory or inbox.path)) for inbox in settings.inboxes}
    return gather.of_jobs(jobs, bases=bases, reaching=reaching, elsewhere=elsewhere)


def _whereabouts(settings: Configuration | None, scans: Path | None) -> gather.Whereabouts:
    """Every inbox and archive, and the folder that was named: which is the right one is told by the scan's hash."""
    inboxes = settings.inboxes if settings else ()
    named = [] if scans is None else [os.path.abspath(scans)]
    roots = named + [str(root) for inbox in inboxes for root in (inbox.path, inbox.archive_to) if root is not None]
    return lambda path: tuple(Place(root, path) for root in roots)
