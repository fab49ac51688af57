"""cluster.yaml and deploy/local.yaml: Ray takes them, they keep our rules, and each rule can be broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import launcher_rules as rules
import pytest
import yaml
from jsonschema import ValidationError
from launcher_rules import CLUSTER, FOR_ALL, FOR_AWS, LOCAL, Config, Rule
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = pytest.mark.parametrize("path", [CLUSTER, LOCAL], ids=lambda path: path.name)


def read(path: Path) -> Config:
    return yaml.safe_load(path.read_text())


@FILES
def test_ray_takes_the_file(path: Path) -> None:
    validate_config(prepare_config(read(path)))


@FILES
def test_ray_refuses_what_its_schema_does_not_know(path: Path) -> None:
    with pytest.raises(ValidationError, match="max_wrokers"):
        validate_config(prepare_config(read(path) | {"max_wrokers": 3}))


@pytest.mark.parametrize(
    ("path", "rule"),
    [(path, rule) for path in (CLUSTER, LOCAL) for rule in FOR_ALL] + [(CLUSTER, rule) for rule in FOR_AWS],
    ids=lambda value: value.name if isinstance(value, Path) else value.__name__,
)
def test_the_file_keeps_the_rule(path: Path, rule: Rule) -> None:
    assert list(rule(read(path))) == []


@FILES
def test_five_lines_are_marked(path: Path) -> None:
    assert re.findall(r"# \((\d)\)", path.read_text()) == ["1", "2", "3", "4", "5"]


def edit(key: str, old: str, new: str) -> Callable[[Config], None]:
    """Replaces words in the commands of a section."""

    def change(config: Config) -> None:
        assert any(old in command for command in config[key]), (key, old)
        config[key] = [command.replace(old, new) for command in config[key]]

    return change


def mount(there: str, here: str) -> Callable[[Config], None]:
    return lambda config: config["file_mounts"].update({there: here})


def node(kind: str, **changes: object) -> Callable[[Config], None]:
    return lambda config: config["available_node_types"][kind]["node_config"].update(changes)


def kind(name: str, **changes: object) -> Callable[[Config], None]:
    return lambda config: config["available_node_types"][name].update(changes)


HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
EITHER: list[tuple[Rule, Callable[[Config], None]]] = [
    (rules.loopback_only, edit(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0")),
    (rules.loopback_only, edit(HEAD, "--dashboard-host=127.0.0.1", "")),
    (rules.token_everywhere, edit(HEAD, "RAY_AUTH_MODE=token", "")),
    (rules.token_everywhere, edit(WORKER, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    (rules.token_everywhere, lambda config: config["file_mounts"].pop("~/.ray/auth_token")),
    (rules.token_everywhere, edit("setup_commands", "chmod 600", "chmod 644")),
    (rules.no_secrets, edit(HEAD, "RAY_AUTH_MODE=token", f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={'ab' * 32}")),
    (rules.no_secrets, lambda config: config["provider"].update(aws_credentials={"aws_access_key_id": "x"})),
    (rules.no_secrets, lambda config: config["auth"].update(ssh_public_key="AKIAIOSFODNN7EXAMPLE")),
    (rules.mounts_are_the_package, mount("~/jackpot", ".")),
    (rules.mounts_are_the_package, mount("~/jackpot/sweeps", "sweeps")),
    (rules.mounts_are_the_package, lambda config: config["file_mounts"].pop("~/jackpot/search_spaces")),
    (rules.mounts_are_the_package, lambda config: config.pop("rsync_exclude")),
    (rules.data_is_cached_on_the_node, edit(WORKER, "JACKPOT_CACHE=", "CACHE=")),
    (rules.commands_parse, lambda config: config["setup_commands"].append("if true; then echo")),
]
AWS: list[tuple[Rule, Callable[[Config], None]]] = [
    (rules.loopback_only, edit(HEAD, "--host 127.0.0.1", "--host 10.0.0.1")),
    (rules.loopback_only, edit(HEAD, "--host 127.0.0.1", "")),
    (rules.head_runs_no_trials, kind("head", resources={"CPU": 4, "GPU": 0})),
    (rules.head_runs_no_trials, node("head", InstanceType="g5.xlarge")),
    (rules.head_runs_no_trials, node("head", InstanceMarketOptions={"MarketType": "spot"})),
    (rules.workers_are_spot, node("spare_worker", InstanceMarketOptions={})),
    (rules.workers_are_spot, node("spare_worker", InstanceType="g5.xlarge")),
    (rules.workers_are_spot, kind("worker", min_workers=1)),
    (rules.workers_are_spot, kind("spare_worker", priority=1)),
    (rules.workers_are_spot, kind("spare_worker", resources={"CPU": 8, "GPU": 1})),
    (rules.nodes_are_closed, node("worker", SecurityGroupIds=[])),
    (rules.nodes_are_closed, node("head", IamInstanceProfile=None)),
    (rules.nodes_are_closed, node("head", MetadataOptions={})),
    (rules.nodes_are_closed, node("spare_worker", BlockDeviceMappings=[{"Ebs": {"Encrypted": False}}])),
    (rules.nodes_are_closed, lambda config: config["provider"].update(security_group={"GroupName": "open"})),
    (rules.nothing_stays, lambda config: config["provider"].pop("cache_stopped_nodes")),
    (rules.nothing_stays, lambda config: config.pop("idle_timeout_minutes")),
    (rules.nothing_stays, node("worker", BlockDeviceMappings=[{"Ebs": {"DeleteOnTermination": False}}])),
]
OWN: list[tuple[Rule, Callable[[Config], None]]] = [
    (rules.head_runs_no_trials, edit(HEAD, "--num-cpus=0", "")),
    (rules.head_runs_no_trials, edit(HEAD, "--num-gpus=0", "--num-gpus=1")),
]


@pytest.mark.parametrize(
    ("path", "rule", "breach"),
    [(CLUSTER, *case) for case in EITHER + AWS] + [(LOCAL, *case) for case in EITHER + OWN],
    ids=lambda value: value.name if isinstance(value, Path) else getattr(value, "__name__", None),
)
def test_a_breach_is_seen(path: Path, rule: Rule, breach: Callable[[Config], None]) -> None:
    config = read(path)
    breach(config)
    assert list(rule(config)) != []


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, _ in EITHER + AWS} == {*FOR_ALL, *FOR_AWS}
