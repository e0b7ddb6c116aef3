"""Man pages and shell completion, from the commands themselves: `python -m ocrwatch.tools.manual FOLDER`.

Writes `man1/ocrwatch*.1` by click-man (extra `manual`), and `completion/ocrwatch.bash`, `_ocrwatch` (zsh) and `ocrwatch.fish`
by click. Both say what `--help` says, because they are made of the same.
"""

from __future__ import annotations

import time
import warnings
from datetime import UTC, date, datetime
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ocrwatch import __version__
from ocrwatch.cli import cli
from ocrwatch.errors import MissingPart

_NAME = "ocrwatch"
_FILES = {"bash": f"{_NAME}.bash", "zsh": f"_{_NAME}", "fish": f"{_NAME}.fish"}


def write_manual(folder: Path, *, day: date) -> list[Path]:
    """Write a page a command below `folder`/man1; the pages. Raises MissingPart without click-man."""
    try:
        from click_man.core import write_man_pages
    except ImportError as error:
        raise MissingPart("click-man is not installed", "pip install 'ocrwatch[manual]'") from error
    pages = folder / "man1"
    pages.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of click, to click-man
        write_man_pages(_NAME, cli, version=__version__, target_dir=str(pages), date=day.isoformat())
    return sorted(pages.glob("*.1"))


def write_completion(folder: Path) -> list[Path]:
    """Write what bash, zsh and fish source to complete commands and options; the files."""
    target = folder / "completion"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for shell, name in _FILES.items():
        kind = get_completion_class(shell)
        assert kind is not None, shell
        path = target / name
        path.write_text(kind(cli, {}, _NAME, f"_{_NAME.upper()}_COMPLETE").source(), encoding="utf-8")
        written.append(path)
    return written


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write man pages and shell completion below FOLDER."""
    today = datetime.fromtimestamp(time.time(), UTC).date()  # noqa: TID251 - what the pages are dated
    for path in [*write_manual(folder, day=today), *write_completion(folder)]:
        click.echo(path)


if __name__ == "__main__":
    main()
