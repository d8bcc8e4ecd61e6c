"""Every mistake is named with its file, its key, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.settings import Settings, SettingsError, load_settings
from store.settings.checks import KEYS, nearest, problems_of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serving]\nexplore_share = 7\n", "serving.explore_share = 7: expected a number from 0 to 1"),
        ("[store]\nhistory_length = 0\n", "store.history_length = 0: expected a whole number from 1 on"),
        ("[training]\nmax_seconds = 0\n", "training.max_seconds = 0: expected a number above 0"),
        ("[training]\nmax_seconds = nan\n", "training.max_seconds = NaN: "),
        ("[serving]\nrepeats = 1\n", "serving.repeats = 1: expected true or false"),
        ('[kafka]\nlog_lost = "ask"\n', "kafka.log_lost"),
        ("[serving]\nexplore_shar = 0.1\n", "no setting serving.explore_shar: did you mean serving.explore_share"),
        ("[worker]\nlive_sample = 0.1\n", "no setting worker.*did you mean"),
        ("[training]\nrehearsal_engagements = 5\n", "training.rehearsal_engagements is called training.backfill_eng"),
        ("serving = 5\n", "serving is a table, not a value"),
        ("[model]\nwidth = 100\nheads = 3\n", "model.heads = 3 does not divide model.width = 100"),
        ("[kafka]\nheartbeat_s = 60.0\n", "heartbeat_s = 60.0 is not below kafka.session_timeout_s"),
        ("[freshness]\ncanary_s = 0.1\n", "freshness.canary_s = 0.1: expected 0 .none. or a number from 0.5 on"),
        ("[freshness]\ncanary_s = 7200.0\n", "freshness.canary_s = 7200.0: expected a number from 0 to 3600"),
        ('[kafka]\nbootstrap_servers = "localhost"\n', 'bootstrap_servers = "localhost": expected host:port'),
        ('[kafka]\nbootstrap_servers = "a:1,b:99999"\n', 'host:port.*"b:99999" is none'),
        ('[kafka]\nbootstrap_servers = "kafka://a:1"\n', "expected host:port"),
        ('[kafka]\ntopic_prefix = "my topics/"\n', "kafka.topic_prefix = .*expected up to 200 letters"),
        ('[kafka]\ngroup = " "\n', "kafka.group = .*not empty"),
        ("[kafka]\nreplication = -2\n", "kafka.replication = -2: expected a whole number from -1 on"),
        ("[kafka]\nreplication = 0\n", "kafka.replication = 0: expected a whole number from 1 on, or -1"),
        ("[kafka]\nsession_timeout_s = inf\n", "kafka.session_timeout_s = Infinity: it cannot be infinite"),
        ("[events.weights]\nclick = inf\n", "events.weights = .*cannot be infinite"),
        ('[content]\nencoder = "bert"\n', 'content.encoder = "bert": expected one of static, minilm'),
        ('[serving]\nadvertise = "worker-1:8470"\n', "serving.advertise = .*expected http://host:port"),
        ('[serving.tls]\nkey_file = "k.pem"\n', "serving.tls.key_file needs serving.tls.certificate_file"),
        (
            '[serving]\nadvertise = "http://worker-1:8470"\n[serving.tls]\ncertificate_file = "c.pem"\n',
            "serving.advertise = .*it begins with https://",
        ),
        ('[tracing]\nendpoint = "collector:4318"\n', 'tracing.endpoint: "collector:4318": expected http://host:port'),
        (
            '[tracing]\nendpoint = "http://me:hush@c:4318"\n',
            "tracing.endpoint: a password in an address is seen by many",
        ),
        ('[tracing]\nservice_name = ""\n', "tracing.service_name = .*not empty"),
        ("[tracing]\nsample_share = 2\n", "tracing.sample_share = 2: expected a number from 0 to 1"),
        ('[logging]\nlevel = "LOUD"\n', 'logging.level = "LOUD": expected one of DEBUG, INFO, WARNING, ERROR'),
        (
            '[kafka.envelopes.uploads]\nitemid = "sku"\n',
            "envelopes.uploads: uploads have no field itemid: did you mean item_id",
        ),
        ('[kafka.envelopes.kinds]\ncart = "basket"\n', "kafka.envelopes.kinds.cart = basket: use impression"),
        ('[kafka.registry]\nurl = "registry:8081"\n', "kafka.registry.url = .*expected http://host:port"),
        ('[kafka.registry]\nurl = "http://u:p@registry"\n', "url holds a password, which would be shown"),
        ('[kafka.registry]\nca_file = "ca.pem"\n', "kafka.registry.ca_file is ignored without kafka.registry.url"),
        ('[kafka.registry]\nurl = "http://r"\nusername = "u"\n', "kafka.registry needs username and password"),
        (
            '[kafka.registry]\nurl = "http://r"\nusername = "u"\npassword = "p"\npassword_file = "f"\n',
            "kafka.registry.password and kafka.registry.password_file are both given",
        ),
        ('[kafka.registry]\nurl = "http://r"\nca_file = "c"\n', "kafka.registry.ca_file is ignored with http"),
        ('[loging]\nlevel = "INFO"\n', "no setting loging.level: did you mean logging.level"),
        ("[candidates.quotas]\npopularity = 5\n", "did you mean candidates.quotas.popular"),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=rf"mine\.toml: .*{said}"):
        load_settings(file, {})


def test_the_nearest_key() -> None:
    assert nearest("training.gate_minimum_events") == "training.gate_min_events"
    assert nearest("beams") == "serving.beams"
    assert nearest("kafka.zzz") == ""


def test_every_number_has_a_range() -> None:
    free = {"serving.utility.click", "serving.utility.completion", "serving.utility.negative"}
    assert {key for key, kind in KEYS.items() if kind in (int, float)} == free


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_value_of_no_type_is_refused_by_its_key(key: str) -> None:
    tree: Any = []
    for name in reversed(key.split(".")):
        tree = {name: tree}
    (problem,) = problems_of(tree, lambda asked: f"<{asked}>")
    assert problem.startswith(f"<{key}>: {key} = []: ")


def test_a_tree_without_problems_converts() -> None:
    assert problems_of(msgspec.to_builtins(Settings()), lambda _: "here") == []


security = st.fixed_dictionaries(
    {"protocol": st.sampled_from(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])},
    optional={name: st.just("x") for name in ("username", "password", "ca_file", "certificate_file", "key_file")},
)


@given(tree=security)
def test_what_a_protocol_would_ignore_or_lack_is_a_mistake(tree: dict[str, str]) -> None:
    sasl, tls = "SASL" in tree["protocol"], tree["protocol"].endswith("SSL")
    ignored = {name for name in ("username", "password") if name in tree and not sasl}
    ignored |= {name for name in ("ca_file", "certificate_file", "key_file") if name in tree and not tls}
    lacking = {name for name in ("username", "password") if sasl and name not in tree}
    lacking |= {"certificate_file"} if "key_file" in tree and "certificate_file" not in tree else set()
    named = {problem.partition(":")[0] for problem in problems_of({"kafka": {"security": tree}}, lambda key: key)}
    assert named == {f"kafka.security.{name}" for name in ignored | lacking}
