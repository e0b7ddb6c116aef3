"""What is said of the metrics elsewhere: alert rules, dashboard and manual, against a real scrape and by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

from tests.conftest import PROJECT
from tests.torture import tiny_scans
from tests.torture.measured import MeasuredService, asked, parsed

RULES = PROJECT / "monitoring" / "alerts.yaml"
DASHBOARD = PROJECT / "monitoring" / "grafana-dashboard.json"
_UP = {'up{job="ocrwatch"}': "1x200"}
_AT_MIN = 70
_QUIET_MIN = range(55, 80)

FIRING: list[tuple[str, dict[str, str]]] = [
    ("OcrwatchDown", {'up{job="ocrwatch"}': "0x200"}),
    ("OcrwatchDown", {"up": "1x200"}),
    ("OcrwatchKeepsRestarting", _UP | {"ocrwatch_start_time_seconds": "1x10 2x10 3x10 4x10 5x40"}),
    ("OcrwatchScansWait", _UP | {'ocrwatch_oldest_unprocessed_age_seconds{inbox="a"}': "0+60x200"}),
    ("OcrwatchInboxOffline", _UP | {'ocrwatch_inbox_offline{inbox="a"}': "1x200"}),
    ("OcrwatchFileFailed", _UP | {'ocrwatch_files_finished_total{inbox="a",state="failed"}': "0x50 1x20"}),
    (
        "OcrwatchMostFilesFail",
        _UP
        | {
            'ocrwatch_files_finished_total{inbox="a",state="poison"}': "0+1x100",
            'ocrwatch_files_finished_total{inbox="a",state="done"}': "0x100",
        },
    ),
    ("OcrwatchModelUnavailable", _UP | {"ocrwatch_model_unavailable": "1x200"}),
    ("OcrwatchPagesToReview", _UP | {'ocrwatch_pages_to_review_total{inbox="a"}': "0+10x100"}),
    ("OcrwatchWorkersDie", _UP | {'ocrwatch_worker_deaths_total{worker="model"}': "0+1x100"}),
    ("OcrwatchGpuMemoryNotReturned", _UP | {'ocrwatch_model_memory_returns_total{verdict="timeout"}': "0x60 1x40"}),
    ("OcrwatchJournalUnreadable", _UP | {"ocrwatch_journal_readable": "0x200"}),
]
QUIET = _UP | {
    'ocrwatch_files_finished_total{inbox="a",state="done"}': "0+5x200",
    'ocrwatch_files_finished_total{inbox="a",state="failed"}': "3x200",
    'ocrwatch_oldest_unprocessed_age_seconds{inbox="a"}': "30x200",
    'ocrwatch_inbox_offline{inbox="a"}': "0x60 1x5 0x100",
    "ocrwatch_model_unavailable": "0x60 1x5 0x100",
    'ocrwatch_pages_to_review_total{inbox="a"}': "0x100 1x50",
    'ocrwatch_worker_deaths_total{worker="tesseract"}': "0x50 1x100",
    'ocrwatch_model_memory_returns_total{verdict="timeout"}': "0x200",
    "ocrwatch_journal_readable": "1x200",
    "ocrwatch_start_time_seconds": "1x30 2x170",
}
"""An ordinary hour: one restart, one dead worker, a share and a model that were away for five minutes."""


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a daemon says that has done a scan and failed at another."""
    environment = pytest.MonkeyPatch()
    service = MeasuredService(tmp_path_factory.mktemp("measured"), environment)
    try:
        service.settings["correction"] = {"mode": "rescore"}
        service.settings["model"] = {"path": str(service.inbox.parent / "none.gguf"), "download": "never"}
        service.write_config()
        service.start()
        (service.inbox / "a.tif").write_bytes(tiny_scans.tiff(["text"]))
        service.wait_for("a.tif", "done", "awaiting_correction")
        yield asked(("127.0.0.1", service.port))[1]
    finally:
        service.end()
        environment.undo()


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checks."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here (apt install prometheus)")
    return found


def _samples(family: Metric) -> set[str]:
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
    return {family.name + ending for ending in endings}


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def _queries() -> list[str]:
    """Every expression of the dashboard: of panels, annotations and variables."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(str(node[key]) for key in ("expr", "definition") if key in node)
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            walk(each)

    walk(json.loads(DASHBOARD.read_text(encoding="utf-8")))
    return found


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_asked_for_exists(scrape: str) -> None:
    """In rules and dashboard; and every label that is matched or grouped by is one of its own, or of Prometheus."""
    families = {name: family for family in parsed(scrape) for name in _samples(family)}
    for expression in [*_queries(), *(rule["expr"] for rule in _rules())]:
        for name, matchers in re.findall(r"\b(ocrwatch_\w+)(?:\{([^}]*)\})?", expression):
            assert name in families, f"{name} of {expression}"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - {"instance", "job"}
            assert labels <= _labels(families[name]) or not families[name].samples, f"{labels} of {expression}"


def test_dashboard_shows_every_metric(scrape: str) -> None:
    """Or a rule needs it: what nobody looks at would not be told."""
    asked_for = " ".join([*_queries(), *(rule["expr"] for rule in _rules())])
    for family in parsed(scrape):
        assert re.search(rf"\b{family.name}(_total|_bucket|_count)?\b", asked_for), family.name


def test_page_lists_every_metric_with_its_labels(scrape: str) -> None:
    """No more and no less."""
    page = (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(ocrwatch_\w+)` \| ([^|]*?) ?\|", page, flags=re.MULTILINE))
    families = {f.name + ("_total" if f.type == "counter" else ""): f for f in parsed(scrape)}
    assert rows.keys() == families.keys()
    for name, labels in rows.items():
        if families[name].samples:
            assert set(re.findall(r"\w+", labels)) == _labels(families[name]), name


def test_dashboard_is_whole() -> None:
    """Numbers of panels are theirs alone, no panel covers another, and each is about the data source that was chosen."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")


def test_promtool_finds_nothing_in_a_scrape(scrape: str, promtool: str) -> None:
    """Names, units and help as the conventions want them."""
    _run(promtool, "check", "metrics", given=scrape)


def test_promtool_finds_nothing_in_the_rules(promtool: str) -> None:
    """They can be loaded."""
    _run(promtool, "check", "rules", str(RULES))


def test_every_rule_has_a_case() -> None:
    """So that each was seen to fire."""
    assert {name for name, _ in FIRING} == {rule["alert"] for rule in _rules()}


@pytest.mark.parametrize(("alert", "series"), [*FIRING, ("", QUIET)], ids=lambda value: value if isinstance(value, str) else "")
def test_rule_fires_when_it_should_and_no_other_does(alert: str, series: dict[str, str], promtool: str, tmp_path: Path) -> None:
    """Evaluated by Prometheus' own engine, over more than an hour of a sample a minute."""
    also = {"OcrwatchMostFilesFail": ["OcrwatchFileFailed"]}.get(alert, [])
    firing = "count by (alertname) (ALERTS{alertstate='firing'})"
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in [alert, *also] if name]
    case = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": firing, "eval_time": f"{at_min}m", "exp_samples": expected}
                    for at_min in ([_AT_MIN] if alert else _QUIET_MIN)
                ],
            }
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(case), encoding="utf-8")
    _run(promtool, "test", "rules", str(file))
