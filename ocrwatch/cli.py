"""The commands. Turns arguments into calls, results into lines, and every error into one line and an exit code.

0 done, 1 some file failed, 2 usage or configuration, 3 a needed part of the system is missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ocrwatch import __version__, calibrating, config, direct
from ocrwatch.cli_model import model
from ocrwatch.cli_options import (
    absolute,
    ask_daemon,
    config_option,
    json_option,
    language_option,
    progress_bar,
    settings_if_any,
    socket_path,
)
from ocrwatch.cli_report import report
from ocrwatch.cli_why import why
from ocrwatch.correction.protocol import Mode
from ocrwatch.daemon import Daemon
from ocrwatch.doctor import examine
from ocrwatch.doctor.findings import lines
from ocrwatch.errors import ConfigError, OcrwatchError, UsageError
from ocrwatch.intake.troubles import what
from ocrwatch.service import logs, view, watching
from ocrwatch.service.allocator import few_arenas
from ocrwatch.service.control import ask
from ocrwatch.service.logs import LogFormat
from ocrwatch.settings import Configuration


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ocrwatch")
def cli() -> None:
    """Watches scan folders, recognizes and corrects new scans, and writes the text beside them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever starts us may have it ignored, and no child could be waited for
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, prog_name="ocrwatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except click.Abort:
        code = 130
    except OcrwatchError as error:
        for line in error.problems if isinstance(error, ConfigError) else [str(error)]:
            click.echo(f"ocrwatch: {logs.printable(line)}", err=True)
        code = error.exit_code
    except OSError as error:
        if [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)][-1] is not click.echo.__code__:
            raise
        with open(os.devnull, "wb") as nowhere:  # for what is left to be written at the end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        click.echo(f"ocrwatch: standard output cannot be written: {what(error)}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@cli.command()
@config_option
@click.option("--verbose", is_flag=True, help="Log what the file systems cannot do, too.")
@click.option(
    "--log-format",
    type=click.Choice([str(form) for form in LogFormat]),
    help="How the log on standard error looks (default: the fields of journald where it listens, else text).",
)
def run(config_path: Path | None, verbose: bool, log_format: str | None) -> None:
    """Run the daemon."""
    path = config_path or config.default_path()
    logs.set_up(LogFormat(log_format) if log_format else None, verbose=verbose)
    few_arenas()
    daemon = Daemon(config.load(path), path)
    daemon.run()
    if daemon.reload:
        # A fresh process takes the new configuration whole; the service manager sees the same one go on.
        os.execv(sys.executable, [sys.executable, "-m", "ocrwatch", *sys.argv[1:]])  # noqa: S606 - our own arguments


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the texts (default: beside).")
@click.option("--engine", type=click.Choice(["auto", "tesseract", "aspose"]), help="OCR engine.")
@language_option
@click.option("--mode", type=click.Choice(["rescore", "rewrite", "off"]), help="How the text is corrected.")
@click.option("--model", type=click.Path(path_type=Path), help="A .gguf file.")
@config_option
def process(paths: tuple[Path, ...], config_path: Path | None, **choices: Any) -> int:
    """Recognize and correct these files now, by the same pipeline."""
    settings = direct.settings_for(paths, base=settings_if_any(config_path), **choices)
    with progress_bar("files") as progress:
        done = direct.process(settings, paths, progress=progress)
    for item in done:
        click.echo(logs.printable(f"{item.path}: {item.line}"), err=item.failed)
    return 1 if any(item.failed for item in done) else 0


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--engine", type=click.Choice(["auto", "tesseract", "aspose"]), help="OCR engine.")
@language_option
@config_option
def ocr(file: Path, engine: str | None, languages: tuple[str, ...], config_path: Path | None) -> None:
    """Print the raw text of a file, its pages separated by form feeds."""
    settings = direct.settings_for((file,), base=settings_if_any(config_path), engine=engine, languages=languages, mode="off")
    pages = direct.recognize(settings, file)
    click.echo("\f".join(page.text for page in pages), nl=False)


@cli.command()
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--model", type=click.Path(path_type=Path), help="A .gguf file.")
@language_option
@click.option("--mode", type=click.Choice([str(m) for m in Mode]), default=None, help="Who proposes changes.")
@click.option("--profile", help="default, financial, medical, or one of the configuration.")
@click.option("--calibrate", "pairs", type=click.Path(path_type=Path), help="Fit the model to this folder's pages.")
@config_option
@json_option
def correct(file: Any, config_path: Path | None, as_json: bool, **choices: Any) -> None:
    """Correct a text; pages are separated by form feeds.

    With --calibrate, learn instead how far the model is to be believed, from a folder of texts as recognized, NAME.txt, each with
    its truth, NAME.gt.txt. Every later correction with that model uses what was found.
    """
    settings = direct.settings_for((), base=settings_if_any(config_path), model=choices["model"], languages=choices["languages"])
    if choices["pairs"] is not None:
        if file.name != sys.stdin.name or choices["mode"] or choices["profile"]:
            raise UsageError("--calibrate takes no text, mode or profile", "leave them out")
        _calibrate(settings, choices["pairs"], as_json=as_json)
        return
    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"the text is not UTF-8: {error}", "convert it first, for instance with iconv") from error
    result = direct.correct(settings, text, mode=choices["mode"], profile=choices["profile"])
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    else:
        click.echo(result.text, nl=False)
        for line in result.notes:
            click.echo(f"ocrwatch: {line}", err=True)


def _calibrate(settings: Configuration, pairs: Path, *, as_json: bool) -> None:
    with progress_bar("pages") as progress:
        done = calibrating.calibrate(settings, pairs, progress=progress)
    for line in [json.dumps(done.to_json(), indent=1)] if as_json else done.lines():
        click.echo(line)


@cli.command()
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until q.")
@config_option
@json_option
def status(config_path: Path | None, as_json: bool, watch: bool) -> None:
    """Show inboxes, queue, workers and the model."""
    if watch and as_json:
        raise UsageError("--watch is for people, and JSON is not", "leave one of them out")
    if watch:
        socket, wall_clock = socket_path(config_path), time.time  # noqa: TID251 - the command line hands it out
        watching.watch(lambda: ask(socket, {"op": "status"}), wall_clock=wall_clock)
        return
    answer = ask_daemon(config_path, {"op": "status", "files": as_json})
    for line in [json.dumps(answer, indent=1)] if as_json else view.status_lines(answer):
        click.echo(line)


@cli.command()
@click.argument("files", nargs=-1)
@click.option("--all-failed", is_flag=True, help="Every file that failed, was set aside, or is partial.")
@config_option
def retry(files: tuple[str, ...], all_failed: bool, config_path: Path | None) -> None:
    """Try files again that failed or were set aside."""
    if bool(files) == all_failed:
        raise UsageError("name files, or --all-failed, and not both")
    request = {"op": "retry", "all": all_failed, "paths": [absolute(file) for file in files]}
    click.echo(f"{ask_daemon(config_path, request)['retried']} files are tried again")


@cli.command("check-config")
@config_option
def check_config(config_path: Path | None) -> None:
    """Report every problem of the configuration, with path and line."""
    path = config_path or config.default_path()
    settings = config.load(path)
    click.echo(f"{path}: right, {len(settings.inboxes)} inboxes")


@cli.command()
@config_option
@json_option
def doctor(config_path: Path | None, as_json: bool) -> int:
    """Say what this machine lacks, and the command that mends it."""
    today = datetime.fromtimestamp(time.time(), UTC).date()  # noqa: TID251 - the command line hands it out
    findings = examine(settings_if_any(config_path), today=today)
    if as_json:
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=1))
    else:
        for line in lines(findings):
            click.echo(line)
    return 3 if any(finding.verdict == "bad" for finding in findings) else 0


cli.add_command(model)
cli.add_command(why)
cli.add_command(report)
