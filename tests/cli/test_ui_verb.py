"""jackpot ui: who may ask for MLflow's pages."""

import pytest
from command import jackpot

from orchestrator import tracking


@pytest.fixture
def served(monkeypatch):
    """What a server would have been started with."""
    asked = []
    monkeypatch.setattr(tracking, "serve", lambda *_, **options: asked.append((options["host"], options["allowed"])))
    return asked


def test_it_listens_on_this_machine_alone_unless_told(here, served):
    shown = jackpot("ui", "small")
    assert (shown.exit_code, shown.stderr, served) == (0, "", [("127.0.0.1", [])])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "head-node"])
def test_another_address_needs_names(here, served, host):
    shown = jackpot("ui", "small", "--host", host, "--port", "5050")
    assert (shown.exit_code, shown.stdout, served) == (2, "", [])
    assert shown.stderr.startswith(f"--host {host}: MLflow answers only to names that it was told")
    assert "--allowed-hosts" in shown.stderr
    assert "`ssh -L 5050:127.0.0.1:5050 THIS-MACHINE`" in shown.stderr


def test_with_names_it_says_what_that_opens(here, served):
    shown = jackpot("ui", "small", "--host", "0.0.0.0", "--allowed-hosts", "head-node, 10.0.0.7,[fd00::7]")
    assert (shown.exit_code, served) == (0, [("0.0.0.0", ["head-node", "10.0.0.7", "[fd00::7]"])])
    assert shown.stderr.startswith("warning: anyone who reaches 0.0.0.0 can read and delete these runs")
    assert "`ssh -L 5000:127.0.0.1:5000 head-node`" in shown.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_loopback_opens_nothing(here, served, host):
    shown = jackpot("ui", "small", "--host", host)
    assert (shown.exit_code, shown.stderr, served) == (0, "", [(host, [])])


@pytest.mark.parametrize("name", ["*", "", "http://head-node", "head-node:5000", "head-*"])
def test_what_is_no_name_is_refused(here, served, name):
    shown = jackpot("ui", "small", "--host", "0.0.0.0", "--allowed-hosts", f"head-node,{name}")
    assert (shown.exit_code, served) == (2, [])
    assert f"--allowed-hosts: {name!r} is no name of a machine" in shown.stderr
