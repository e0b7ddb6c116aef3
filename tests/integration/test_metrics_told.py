"""Figures over HTTP: of a collector by itself, and of a real daemon while scans are done."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.registry import Collector

from ocrwatch.errors import Infrastructure
from ocrwatch.service import exporter
from ocrwatch.service.exporter import Exporter
from tests.faults.daemon import wait_until
from tests.faults.outside import send
from tests.faults.share import FaultShare
from tests.torture import tiny_scans
from tests.torture.measured import MeasuredService, asked, free_port, parsed

_NO_TIFF = b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\nstartxref\n9\n%%EOF\n"
"""Whole, and nothing that the fast engine reads."""


class One(Collector):
    """A figure, or trouble with it."""

    trouble: Exception | None = None

    def collect(self) -> Iterator[Metric]:
        if self.trouble is not None:
            raise self.trouble
        yield GaugeMetricFamily("one", "the number", value=1)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Exporter, One]]:
    """An exporter at a port of the system's choice, with little patience."""
    monkeypatch.setattr(exporter, "_PATIENCE_S", 0.5)
    one = One()
    made = Exporter(("127.0.0.1", 0), one)
    yield made, one
    made.close()


# -- by itself -------------------------------------------------------------------------------------------------------


def test_figures_are_told_as_text_and_as_openmetrics(told: tuple[Exporter, One]) -> None:
    """Each reader gets the form that it asks for."""
    address = told[0].address
    response, body = asked(address)
    assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert [family.name for family in parsed(body)] == ["one"]
    response, body = asked(address, Accept="application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in response.headers["Content-Type"]
    families = list(open_metrics(body))  # type: ignore[no-untyped-call] # the library leaves it so
    assert [family.name for family in families] == ["one"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", "/metrics?name[]=one", 200), ("POST", "/metrics", 501)]
    + [(method, "/metrics", 501) for method in ("HEAD", "PUT", "DELETE", "OPTIONS")],
)
def test_nothing_else_is_to_be_had(told: tuple[Exporter, One], method: str, path: str, status: int) -> None:
    """One path, one method."""
    assert asked(told[0].address, method, path)[0].status == status


@pytest.mark.parametrize("said", [b"", b"\0" * 100, b"GET /metrics HTTP/1.1\r\n", b"x" * 100_000, b"GET\r\n\r\n"])
def test_caller_who_dawdles_or_talks_nonsense_keeps_the_next_for_seconds_only(told: tuple[Exporter, One], said: bytes) -> None:
    """Whatever is open towards it: one thread serves all, and none is started for a caller."""
    threads = threading.active_count()
    with socket.create_connection(told[0].address) as caller:
        with contextlib.suppress(OSError):
            caller.sendall(said)
        assert asked(told[0].address)[0].status == 200
    assert threading.active_count() == threads


def test_caller_who_sends_byte_by_byte_has_no_more_time(told: tuple[Exporter, One]) -> None:
    """The time is that of the whole question."""
    with socket.create_connection(told[0].address) as caller:

        def drip() -> None:
            with contextlib.suppress(OSError):
                for _ in range(200):
                    caller.sendall(b"G")
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        begun_s = time.monotonic()
        assert asked(told[0].address)[0].status == 200
        assert time.monotonic() - begun_s < 5
    dripping.join()


def test_trouble_of_one_scrape_is_logged_and_the_next_goes_on(
    told: tuple[Exporter, One], caplog: pytest.LogCaptureFixture
) -> None:
    """Prometheus sees a scrape that failed."""
    made, one = told
    one.trouble = RuntimeError("a bug")
    with pytest.raises(OSError, match="without response"):
        asked(made.address)
    assert "a request for metrics failed" in caplog.text
    one.trouble = None
    assert asked(made.address)[0].status == 200


def test_address_in_use_says_so_and_closing_frees_it(told: tuple[Exporter, One]) -> None:
    """The message names the address and how to see who has it."""
    made, one = told
    address = made.address
    with pytest.raises(Infrastructure, match=rf"metrics cannot be told at 127.0.0.1:{address[1]}: .*in use; .*ss -ltnp"):
        Exporter(address, one)
    made.close()
    again = Exporter(address, one)
    try:
        assert asked(address)[0].status == 200
    finally:
        again.close()


def test_closing_waits_for_no_caller() -> None:
    """The service ends in time."""
    made = Exporter(("127.0.0.1", 0), One())
    begun_s = time.monotonic()
    made.close()
    assert time.monotonic() - begun_s < 1
    with pytest.raises(OSError, match="refused"):
        asked(made.address)


def test_address_of_the_other_family_is_listened_at() -> None:
    """`[::1]:9464` is an address of this machine too."""
    try:
        made = Exporter(("::1", 0), One())
    except Infrastructure as error:
        pytest.skip(f"no IPv6 here: {error.message}")
    try:
        assert asked(made.address)[0].status == 200
    finally:
        made.close()


# -- of a daemon -----------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MeasuredService]:
    """Not started yet."""
    service = MeasuredService(tmp_path, monkeypatch)
    yield service
    service.end()


def test_daemon_tells_what_it_does(service: MeasuredService) -> None:
    """Pages, files, failures by kind and times agree with what was put in; no name of a file is told."""
    service.start()
    assert (service.finished(), service.finished("failed")) == (0, 0)
    for number in range(5):
        (service.inbox / f"scan-{number}.tif").write_bytes(tiny_scans.tiff([f"one {number}", "two"]))
    (service.inbox / "broken.pdf").write_bytes(
        b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\nstartxref\n9\n%%EOF\n"
    )  # no TIFF to the engine
    wait_until(lambda: (service.finished(), service.finished("failed")) == (5, 1), what="all files")
    by_engine = {"inbox": "inbox", "engine": "tesseract", "source": "ocr"}
    assert service.value("pages_recognized_total", **by_engine) == 10
    assert service.value("file_failures_total", inbox="inbox", reason="corrupt_file") == 1
    assert service.value("files", inbox="inbox", state="done") == 5
    assert service.value("files", inbox="inbox", state="failed") == 1
    assert service.value("file_to_text_seconds_count", inbox="inbox") == 5
    assert service.value("page_recognition_seconds_count", engine="tesseract") == 10
    assert service.value("oldest_unprocessed_age_seconds", inbox="inbox") == 0
    assert service.value("inbox_offline", inbox="inbox") == 0
    told = asked(("127.0.0.1", service.port))[1]
    assert "scan-" not in told
    assert str(service.inbox) not in told


def test_counts_begin_anew_with_the_process_and_states_do_not(service: MeasuredService) -> None:
    """Prometheus understands the fall; a file that was done before is none of this process's work."""
    service.start()
    (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
    wait_until(lambda: service.finished() == 1, what="the first file")
    first_s = service.value("start_time_seconds")
    service.kill()
    service.start()
    assert service.finished() == 0
    assert service.value("files", inbox="inbox", state="done") == 1
    second_s = service.value("start_time_seconds")
    assert first_s is not None
    assert second_s is not None
    assert second_s > first_s


def test_reload_moves_the_address(service: MeasuredService) -> None:
    """The old one is free, the new one tells; without one nobody listens, and the service goes on."""
    service.start()
    old, service.port = service.port, free_port()
    _reload(service, f"127.0.0.1:{service.port}")
    wait_until(lambda: not _is_refused(service.port), what="the new address")
    assert _is_refused(old)
    assert service.finished() == 0
    _reload(service, None)
    wait_until(lambda: _is_refused(service.port), what="the end of the new address")
    (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
    wait_until((service.inbox / "a.tif.txt").exists, what="the text")
    assert service.stop() == 0


def test_address_that_somebody_has_keeps_no_scan_from_its_text(service: MeasuredService) -> None:
    """One line in the log; the service does its work."""
    with socket.create_server(("127.0.0.1", service.port)):
        service.start()
        (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
        service.wait_for("a.tif", "done")
    lines = [line for line in service.log.read_text().splitlines() if "metrics cannot be told" in line]
    assert len(lines) == 1
    assert f"127.0.0.1:{service.port}: Address already in use" in lines[0]
    assert service.stop() == 0


def test_worker_that_is_killed_is_counted(service: MeasuredService) -> None:
    """And the page that it had is read by the next."""
    service.start()
    (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"] * 100))
    busy = wait_until(lambda: [w["pid"] for w in service.status()["workers"] if w["state"] == "busy"], what="a page in work")
    os.kill(busy[0], signal.SIGKILL)
    wait_until(lambda: service.finished() == 1, what="the file")
    assert service.value("worker_deaths_total", worker="tesseract") == 1
    assert (service.value("worker_starts_total", worker="tesseract") or 0) >= 2


def test_dashboard_sees_a_burst_while_it_is_worked_on(service: MeasuredService) -> None:
    """Figures of every moment fit together: what is done grows, and never falls, until all are."""
    service.start()
    for number in range(60):
        (service.inbox / f"{number}.tif").write_bytes(tiny_scans.tiff([f"scan {number}"]))
    seen = [0.0]
    while seen[-1] < 60:
        seen.append(service.finished() or 0.0)
        assert len(seen) < 5000
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def test_stopped_scraper_keeps_the_daemon_from_nothing(service: MeasuredService) -> None:
    """Connections that are open and silent: the next scrape comes, scans are done, and it ends in time."""
    service.start()
    with contextlib.ExitStack() as open_ones:
        open_ones.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
        service.wait_for("a.tif", "done")
        assert service.finished() == 1
        open_ones.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        assert service.stop() == 0


def test_share_that_hangs_holds_no_scrape_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures come at once meanwhile, and those of the other inbox go on."""
    share = FaultShare(tmp_path / "nas")
    service = MeasuredService(tmp_path, monkeypatch)
    try:
        share.mount()
        service.settings["inboxes"].append({"path": str(share.point), "name": "nas", "settle": "300ms", "poll": "1s"})
        service.write_config()
        service.start()
        wait_until(lambda: service.status()["inboxes"][1]["state"] == "online", what="the share")
        share.hang()
        end_s = time.monotonic() + 5
        (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
        while time.monotonic() < end_s:
            begun_s = time.monotonic()
            service.scrape()
            assert time.monotonic() - begun_s < 2
            time.sleep(0.1)
        assert service.finished() == 1
        assert service.value("inbox_polling", inbox="nas") == 1
    finally:
        share.go_on()
        service.end()
        share.unmount()


def test_share_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the inboxes only the one that it concerns."""
    share = FaultShare(tmp_path / "nas")
    service = MeasuredService(tmp_path, monkeypatch)
    try:
        share.mount()
        service.settings["inboxes"].append({"path": str(share.point), "name": "nas", "settle": "300ms", "poll": "1s"})
        service.write_config()
        service.start()
        wait_until(lambda: service.value("files", inbox="nas", state="queued") == 0, what="the figures")
        wait_until(lambda: service.status()["inboxes"][1]["state"] == "online", what="the share")
        share.die()
        wait_until(lambda: service.value("inbox_offline", inbox="nas") == 1, what="the share offline")
        assert service.value("inbox_offline", inbox="inbox") == 0
    finally:
        service.end()
        share.unmount()


def _reload(service: MeasuredService, listen: str | None) -> None:
    service.settings["metrics"] = {"listen": listen}
    service.write_config()
    send(service, signal.SIGHUP)


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
