"""jackpot cluster: look at a cluster before anything is paid for."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any

import typer
from rich.table import Table

from orchestrator.cli.common import print_json, said, terminal, wrong
from orchestrator.cli.submit import ENDS, Address, WithoutToken, load_to_send, shared_folder

app = typer.Typer(
    help="Look at a cluster before anything is paid for.", no_args_is_help=True, rich_markup_mode=None,
    add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
MARK = "jackpot-cluster-check: "
EXAMPLES = "Example: jackpot cluster check my.yaml --address http://127.0.0.1:8265 --out s3://bucket/sweeps/my"

Out = Annotated[
    str | None, typer.Option(help="The sweep's folder, for all machines one: s3://BUCKET/FOLDER or a path.")
]
Spec = Annotated[str | None, typer.Argument(help="A spec, to look at its data, resources and tracking too.")]


@app.command("check", epilog=EXAMPLES)
def check(
    address: Address,
    spec: Spec = None,
    out: Out = None,
    json_: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    without_token: WithoutToken = False,
) -> None:
    """Look at every machine of a cluster: versions, GPUs, storage, locks, data, clocks, token, tracking. Exit code 1
    where something is wrong."""
    from orchestrator.sweep import jobs
    from orchestrator.sweep.checkup import unlike_here

    chosen = load_to_send(spec, [], allow_code=True) if spec else None
    if chosen is None and out is None:
        wrong("--out: name the folder that the sweep will have, s3://BUCKET/FOLDER or a path that all machines share")
    folder = shared_folder(chosen, out)
    with said():
        jobs.check_address(address, without_token)
        command = ["jackpot", "cluster", "examine", folder, *([jobs.SPEC] if chosen else [])]
        said_there: list[str] = []
        with jobs.staged(chosen) as stage:
            name = f"jackpot-check-{uuid.uuid4().hex[:12]}"
            jobs.send(address, name, command, stage)
        code = jobs.follow(address, name, said_there.append)
    text = "".join(said_there)
    found = next((line.partition(MARK)[2] for line in text.splitlines() if MARK in line), None)
    if found is None:
        why = ENDS[code] if code == 127 else "the check did not come to its end there; it must have this Jackpot"
        wrong(text.strip(), f"--address {address}: {why}")
    report = json.loads(found)
    report["problems"] += unlike_here(report["nodes"])
    if json_:
        print_json(report)
    else:
        _show(report)
    raise typer.Exit(1 if report["problems"] else 0)


@app.command("examine", hidden=True)
def examine(out: str, spec: Annotated[str | None, typer.Argument()] = None) -> None:
    """What `check` has the cluster's head do: look at every machine, and print what is found as JSON."""
    from orchestrator.spec.loading import load
    from orchestrator.sweep import checkup
    from orchestrator.sweep.session import ray_session

    with said(), ray_session("auto"):
        report = checkup.examine(out, load(spec).require() if spec else None)
    print(MARK + json.dumps(report), flush=True)


def _show(report: dict[str, Any]) -> None:
    table = Table("machine", "", "CPU", "GPU", "device", "Ray", "torch", "folder", "data", "clock")
    for row in report["nodes"]:
        head = "head" if row["head"] else ""
        if "error" in row:
            table.add_row(row["address"], head, f"{row['cpus']:g}", f"{row['gpus']:g}", row["device"], "no answer")
            continue
        data = row["data"] or {}
        table.add_row(
            f"{row['host']} ({row['address']})", head, f"{row['cpus']:g}", f"{row['gpus']:g}", row["device"],
            row["alike"]["Ray"], row["alike"]["torch"], "no" if row["storage"] else "written",
            "no" if "error" in data else f"{data['files']} files" if data else "", f"{row['skew']:.1f} s",
        )  # fmt: skip
    terminal().print(table)
    if report["slots"] is not None:
        print(f"trials of the spec that fit at once on what is up now: {report['slots']}")
    for problem in report["problems"]:
        print(f"problem: {problem}")
    if not report["problems"]:
        print("all well")
