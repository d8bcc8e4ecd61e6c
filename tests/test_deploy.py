"""deploy/ says what the code says: settings, metrics, labels, commands, objectives; and promtool accepts the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from store.events import REASONS
from store.settings import Freshness, Settings, load_settings, unguarded
from store.topics import TOPIC_NAMES
from stream.cli import app
from stream.kafka import topics
from stream.metrics import canary_ages, objectives
from stream.metrics import metrics as names
from stream.metrics.freshness import EDGES_S
from trainer.runs import metrics as trained

DEPLOY = Path(__file__).parent.parent / "deploy"
DASHBOARD = DEPLOY / "grafana/dashboards/sidestream.json"
SERIES = re.compile(r"\bsidestream_[a-z_]+")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')


def rules() -> list[dict[str, Any]]:
    """Alerts and recording rules."""
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_rules() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def queries() -> list[str]:
    return [rule["expr"] for rule in rules()] + dashboard_queries()


def exposed_series() -> set[str]:
    """The name of every series that a worker or a trainer can expose, `_bucket` and the like included."""
    metrics = names.Metrics()
    metrics.absorbed("uploads")
    metrics.dropped("uploads", ["title"])
    metrics.recommended("home", "ok", 0.1)
    metrics.serving(data_until=0.0, published_at=0.0)
    metrics.codebook_serves(0.0)
    metrics.canaries.watch("upload_to_recommendable", {0})
    metrics.canaries.came("upload_to_recommendable", 0, 1)
    for gauge, (_, labels) in names.GAUGES.items():
        metrics._gauges.put(gauge, 1.0, *("overall" for _ in labels))
    trainer = trained.TrainerMetrics()
    trainer.gate_measured({("candidate", "overall"): 0.1})
    text = generate_latest(metrics.registry).decode() + generate_latest(trainer.registry).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted name → value; an empty table is a value."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{above}{name}.") if isinstance(value, dict) and value else {f"{above}{name}": value}
    return leaves


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return subprocess.run([found, *arguments], cwd=DEPLOY, capture_output=True, text=True, timeout=300, check=False)


def test_promtool_accepts_rules_and_configuration() -> None:
    for arguments in (("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")):
        checked = promtool(*arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_only_then() -> None:
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tests = (DEPLOY / "alerts_test.yml").read_text()
    for rule in alert_rules():
        assert re.search(rf"{rule['alert']}\b", tests), f"{rule['alert']} has no test in alerts_test.yml"
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() >= {"summary", "remedy"}


def test_queries_name_only_series_that_exist() -> None:
    exposed = exposed_series()
    for query in queries():
        assert set(SERIES.findall(query)) <= exposed, query


def test_every_metric_is_on_the_dashboard() -> None:
    def base(series: str) -> str:
        return re.sub(r"_(bucket|count|sum|total|created)$", "", series)

    shown = {base(series) for query in dashboard_queries() for series in SERIES.findall(query)}
    assert shown == {base(series) for series in exposed_series()}


def test_queries_use_only_label_values_that_exist() -> None:
    edges = {str(edge) for edge in (*EDGES_S, *names.RECOMMEND_EDGES_S, *names.PAUSE_EDGES_S)}
    values = {
        "result": {
            "absorbed",
            "duplicate",
            "refused",
            *names.REQUEST_RESULTS,
            *names.SWAP_RESULTS,
            *names.CANARY_RESULTS,
            *objectives.PASSAGE_RESULTS,
            *trained.RUN_RESULTS,
        },
        "topic": set(TOPIC_NAMES),
        "slice": set(names.SLICES),
        "checkpoint_role": set(trained.GATE_ROLES),
        "reason": set(REASONS),
        "le": edges,
        "job": {"sidestream", "sidestream-trainer"},
        "stage": {*objectives.PASSAGES, *objectives.AGES, *canary_ages.STAGES},
        "source": set(names.SHOWN_SOURCES),
    }
    for query in queries():
        for label, value in MATCHER.findall(query):
            assert set(value.split("|")) <= values[label], query


def test_metrics_know_the_topics_of_the_log() -> None:
    assert set(TOPIC_NAMES) == {topic.name for topic in topics.TOPICS}


def test_alert_rules_compare_with_the_objectives_that_workers_export() -> None:
    """A copied constant would stay where it is when a setting changes."""
    found = {rule["alert"]: rule["expr"] for rule in alert_rules()}
    compared = {
        "SidestreamUploadsLate": "sidestream_objective_late_ratio",
        "SidestreamUploadsOftenLate": "sidestream_objective_late_ratio",
        "SidestreamEngagementsLate": "sidestream_objective_late_ratio",
        "SidestreamEngagementsOftenLate": "sidestream_objective_late_ratio",
        "SidestreamStallsAgain": "sidestream_objective_late_ratio",
        "SidestreamStallsOften": "sidestream_objective_late_ratio",
        "SidestreamModelDataOld": 'sidestream_objective_seconds{stage="serving_model_data_age"}',
        "SidestreamCodebookOld": 'sidestream_objective_seconds{stage="codebook_age"}',
        "SidestreamLag": "sidestream_objective_lag_events",
    }
    for alert, gauge in compared.items():
        assert re.search(rf"> (?:[\d.]+ \* )?scalar\(min\({re.escape(gauge)}\)\)", found[alert]), alert
    copied = {f"{value:.0f}" for value in msgspec.structs.astuple(Freshness()) if value >= 100}
    assert not [alert for alert, expr in found.items() if copied & set(re.findall(r"\d+", expr))]


def test_what_is_recorded_is_used_and_what_is_used_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for query in queries() for name in re.findall(r"sidestream:[a-z_:0-9]+[a-z0-9]", query)}
    assert used == recorded


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_settings_file_has_every_setting_with_its_default() -> None:
    written = flat(tomllib.loads((DEPLOY / "sidestream.toml").read_text()))
    defaults = flat(msgspec.to_builtins(Settings()))
    differing = [name for name in {*written, *defaults} if written.get(name) != defaults.get(name)]
    assert not differing, {name: f"deploy {written.get(name)}, default {defaults.get(name)}" for name in differing}
    assert load_settings(DEPLOY / "sidestream.toml", {}) == Settings()


def test_environment_variables_are_settings() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    environments = [service.get("environment", {}) for service in compose["services"].values()]
    environments.append(dict(re.findall(r"(SIDESTREAM_\w+)=(\S+)", (DEPLOY / "Containerfile").read_text())))
    for environment in environments:
        own = {name: value for name, value in environment.items() if name.startswith("SIDESTREAM_")}
        load_settings(None, {name: value for name, value in own.items() if name != "SIDESTREAM_SETTINGS"})
    assert sum(len(environment) for environment in environments) > 5


def test_composed_workers_say_that_they_are_open() -> None:
    image = dict(re.findall(r"(SIDESTREAM_\w+)=(\S+)", (DEPLOY / "Containerfile").read_text()))
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker-1"]["environment"]
    assert unguarded(load_settings(None, {**image, **composed}).serving) == ""


def test_commands_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"].values()
    commands = [service["command"] for service in services if service["image"].startswith("sidestream:")]
    assert len(commands) == 4
    for command in commands:
        found: Any = typer.main.get_command(app)
        for word in command:
            found = found.commands[word]


def test_composed_workers_are_healthy_when_they_are_ready() -> None:
    assert "/readyz" in (DEPLOY / "compose.yaml").read_text()


def test_scraped_targets_are_the_workers_of_the_compose_file() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    workers = {f"{name}:8470" for name, service in compose["services"].items() if service.get("command") == ["worker"]}
    scrapes = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = {scrape["job_name"]: set(scrape["static_configs"][0]["targets"]) for scrape in scrapes}
    assert targets == {"sidestream": workers, "sidestream-trainer": {f"trainer:{Settings().training.metrics_port}"}}


def test_the_image_gets_all_packages() -> None:
    recipe = (DEPLOY / "Containerfile").read_text()
    for package in ("store", "trainer", "stream"):
        assert f"COPY {package} {package}" in recipe
        assert f"!{package}" in (DEPLOY.parent / ".dockerignore").read_text()
