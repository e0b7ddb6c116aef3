"""The daemon with the fast engine, asked for its figures as Prometheus does."""

from __future__ import annotations

import contextlib
import socket
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.torture.service import TorturedService


def asked(address: tuple[str, int], method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[HTTPResponse, str]:
    """What comes back to a request, and its body."""
    with contextlib.closing(HTTPConnection(*address, timeout=20)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()


def parsed(body: str) -> list[Metric]:
    """The families of a scrape."""
    return list(text_string_to_metric_families(body))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MeasuredService(TorturedService):
    """A daemon with the fast engine that tells its figures at `port`."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch, **settings: object) -> None:
        self.port = free_port()
        super().__init__(folder, environment, page_ms=20, metrics={"listen": f"127.0.0.1:{self.port}"}, **settings)

    def scrape(self) -> dict[str, Metric]:
        """Every family, by name."""
        response, body = asked(("127.0.0.1", self.port))
        assert response.status == 200
        return {family.name: family for family in parsed(body)}

    def value(self, sample_name: str, **labels: str) -> float | None:
        """One sample of a scrape of its own."""
        samples = [s for family in self.scrape().values() for s in family.samples if s.name == f"ocrwatch_{sample_name}"]
        return next((s.value for s in samples if s.labels == labels), None)

    def finished(self, state: str = "done") -> float | None:
        """How many files came to that end since the start."""
        return self.value("files_finished_total", inbox="inbox", state=state)
