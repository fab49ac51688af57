"""What a launcher file of ours must keep to. Each rule takes the file as YAML reads it and says what it breaks."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLUSTER, LOCAL = ROOT / "cluster.yaml", ROOT / "deploy" / "local.yaml"
Config = dict[str, Any]

_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
_SETUPS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|PRIVATE KEY|aws_(?:secret|credentials)|RAY_AUTH_TOKEN=(?!\$)|password|[0-9a-f]{32}",
    re.IGNORECASE,
)


def commands(config: Config) -> Iterator[str]:
    """Every command that the launcher runs on a node."""
    for key in (*_SETUPS, *_STARTS):
        yield from config.get(key, [])


def loopback_only(config: Config) -> Iterator[str]:
    """The dashboard and MLflow listen on 127.0.0.1."""
    for command in commands(config):
        hosts = re.findall(r"--(?:dashboard-)?host[= ](\S+)", command)
        yield from (f"listens on {host}: {command}" for host in hosts if host != "127.0.0.1")
        yield from (f"names {host}: {command}" for host in re.findall(r"0\.0\.0\.0|\[::\]", command))
        if ("ray start --head" in command or "mlflow server" in command) and not hosts:
            yield f"says no host: {command}"


def token_everywhere(config: Config) -> Iterator[str]:
    """Every Ray starts in token mode, and every node has the token, which nobody else there can read."""
    for command in commands(config):
        if "ray start" in command and "RAY_AUTH_MODE=token" not in command.split("ray start")[0]:
            yield f"no RAY_AUTH_MODE=token: {command}"
    if config["file_mounts"].get("~/.ray/auth_token") != "~/.ray/auth_token":
        yield "file_mounts: ~/.ray/auth_token is not handed on"
    if "chmod 600 ~/.ray/auth_token" not in config["setup_commands"]:
        yield "setup_commands: ~/.ray/auth_token stays readable"


def head_runs_no_trials(config: Config) -> Iterator[str]:
    """The head has neither a GPU nor anything to run a trial on."""
    if config["provider"]["type"] == "local":
        for option in ("--num-cpus=0", "--num-gpus=0"):
            if not any(option in command for command in config["head_start_ray_commands"]):
                yield f"head_start_ray_commands: no {option}"
        return
    head = config["available_node_types"][config["head_node_type"]]
    if head["resources"] != {"CPU": 0, "GPU": 0}:
        yield f"head: offers {head['resources']}"
    if re.match(r"(p|g|gr|trn|inf)\d", head["node_config"]["InstanceType"]):
        yield f"head: {head['node_config']['InstanceType']} has a GPU"
    if "InstanceMarketOptions" in head["node_config"]:
        yield "head: is not on demand"


def workers_are_spot(config: Config) -> Iterator[str]:
    """From none to max_workers spot instances, of a second type where there is none of the first."""
    workers = {name: kind for name, kind in _node_types(config) if name != config["head_node_type"]}
    for name, kind in workers.items():
        if kind["node_config"].get("InstanceMarketOptions") != {"MarketType": "spot"}:
            yield f"{name}: is not spot"
        if (kind["min_workers"], kind["max_workers"]) != (0, config["max_workers"]):
            yield f"{name}: from {kind['min_workers']} to {kind['max_workers']} of {config['max_workers']}"
    if len({kind["node_config"]["InstanceType"] for kind in workers.values()}) < 2:
        yield "no fallback of another instance type"
    if len({kind["priority"] for kind in workers.values()}) < 2:
        yield "nothing says which type is the fallback"
    if any(kind["resources"] != next(iter(workers.values()))["resources"] for kind in workers.values()):
        yield "the types offer different resources: Ray prefers what a trial fills most, even where there is none of it"


def nodes_are_closed(config: Config) -> Iterator[str]:
    """Each node is in a security group of the user's own, has a role, and keeps its credentials from whoever makes a
    program on it fetch an address."""
    if "security_group" in config["provider"]:
        yield "provider.security_group is added to Ray's, which opens SSH to the world"
    for name, kind in _node_types(config):
        node = kind["node_config"]
        if not node.get("SecurityGroupIds"):
            yield f"{name}: no SecurityGroupIds"
        if not node.get("IamInstanceProfile"):
            yield f"{name}: no IamInstanceProfile"
        if node.get("MetadataOptions", {}).get("HttpTokens") != "required":
            yield f"{name}: metadata without a token"
        if not all(disk["Ebs"].get("Encrypted") for disk in node["BlockDeviceMappings"]):
            yield f"{name}: disk not encrypted"


def nothing_stays(config: Config) -> Iterator[str]:
    """A node that goes takes its disk along, and idle workers go."""
    if config["provider"].get("cache_stopped_nodes") is not False:
        yield "provider: cache_stopped_nodes is not false"
    if not 0 < config.get("idle_timeout_minutes", 0) <= 30:
        yield "idle_timeout_minutes: not within half an hour"
    for name, kind in _node_types(config):
        if not all(disk["Ebs"].get("DeleteOnTermination") for disk in kind["node_config"]["BlockDeviceMappings"]):
            yield f"{name}: disk stays"


def no_secrets(config: Config) -> Iterator[str]:
    """No key, token or password."""
    for words in (*commands(config), *_words(config)):
        if found := SECRETS.search(words):
            yield f"looks like a secret: {found.group()}"


def mounts_are_the_package(config: Config) -> Iterator[str]:
    """Of the working copy a node gets what Jackpot is installed from, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {"Makefile", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"}
    expected = {f"~/jackpot/{name}": name for name in packages | files} | {"~/.ray/auth_token": "~/.ray/auth_token"}
    mounts = config["file_mounts"]
    for path in sorted(expected.items() ^ mounts.items()):
        yield f"file_mounts: {path}"
    if "__pycache__" not in config.get("rsync_exclude", []):
        yield "rsync_exclude: no __pycache__"


def data_is_cached_on_the_node(config: Config) -> Iterator[str]:
    """Every Ray knows where decoded data goes."""
    for command in commands(config):
        if "ray start" in command and "JACKPOT_CACHE=" not in command.split("ray start")[0]:
            yield f"no JACKPOT_CACHE: {command}"


def commands_parse(config: Config) -> Iterator[str]:
    """Bash can read every command."""
    for command in commands(config):
        answer = subprocess.run(["bash", "-n", "-c", command], check=False, capture_output=True, text=True)
        if answer.returncode:
            yield f"{answer.stderr.strip()}: {command}"


def _node_types(config: Config) -> Iterator[tuple[str, Config]]:
    yield from config["available_node_types"].items()


def _words(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    else:
        yield str(value)


Rule = Callable[[Config], Iterator[str]]
FOR_ALL: list[Rule] = [
    loopback_only, token_everywhere, head_runs_no_trials, no_secrets, mounts_are_the_package,
    data_is_cached_on_the_node, commands_parse,
]  # fmt: skip
FOR_AWS: list[Rule] = [workers_are_spot, nodes_are_closed, nothing_stays]
