"""jackpot submit: send a sweep to a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.common import Where, load_checked, said, tracked_at, wrong

if TYPE_CHECKING:
    from orchestrator.spec.models import Spec

EXAMPLES = (
    "Examples: jackpot submit my.yaml --address http://127.0.0.1:8265 --out s3://bucket/sweeps/my | "
    "jackpot submit quickstart --address http://127.0.0.1:8265 --out /nfs/sweeps/quickstart --detach"
)

ENDS = {
    2: "refused on the cluster, not here: `jackpot cluster check` says whether Jackpot and the data are alike there",
    127: "the cluster's head finds no `jackpot`; install it on all machines, on the PATH that Ray is started with, as "
    "cluster.yaml does, then submit again",
    130: "submit again to go on",
    137: "the driver was killed; submit again to go on",
}
"""What to say of a job's exit code."""

Address = Annotated[
    str, typer.Option(metavar="URL", help="The cluster's dashboard, e.g. http://127.0.0.1:8265 behind a port-forward.")
]
"""The option `--address` of commands that speak with a cluster's dashboard."""
WithoutToken = Annotated[
    bool, typer.Option("--without-token", help="The cluster asks for no token, and that is meant.")
]


def command(
    spec: Annotated[str, typer.Argument(help="A spec's path, or the name of one that comes with Jackpot.")],
    address: Address,
    out: Annotated[
        str | None,
        typer.Option(help="The sweep's folder, for all machines one: s3://BUCKET/FOLDER, or a shared folder's path."),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value.")] = None,
    only: Annotated[str | None, typer.Option(help="Run the trials of one method alone.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0.0, help="Stop after this long; resume any time.")] = None,
    tracking: Where = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the sweep is sent.")] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Send the source in this folder along, and let the spec name it.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="The machine that drove this sweep in an object store is gone for good.")
    ] = False,
    without_token: WithoutToken = False,
) -> None:
    """Send a sweep to a cluster as a Ray job and follow what it says. The same spec and folder are the same job: sent
    again it is followed, or gone on with if it has ended. Ctrl-C ends the following alone."""
    from orchestrator.sweep import jobs

    chosen = load_to_send(spec, [*(set_ or []), *tracked_at(tracking)], allow_code)
    folder = shared_folder(chosen, out)
    options = {"--only": only, "--max-hours": max_hours}
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    given += ["--take-over"] if take_over else []
    name = jobs.job_id(chosen, folder)
    with said():
        jobs.check_address(address, without_token)
        with jobs.staged(chosen, allow_code) as stage:
            new = jobs.send(
                address, name, ["jackpot", "run", jobs.SPEC, "--address", "auto", "--out", folder, *given], stage
            )
        print(f"{name}: {'sent' if new else 'is running already'}; jackpot status {folder}", flush=True)
        if detach:
            return
        try:
            code = jobs.follow(address, name, lambda text: print(text, end="", flush=True))
        except KeyboardInterrupt:
            print(f"\n{name} goes on; jackpot status {folder}, jackpot stop {folder}, or submit again to follow it")
            raise typer.Exit(130) from None
    if code in ENDS:
        print(f"{name}: {ENDS[code]}", file=sys.stderr)
    sys.stdout.flush()
    raise typer.Exit(code)


def load_to_send(source: str, overrides: list[str], allow_code: bool) -> Spec:
    """A spec without problems; where its data are not on this machine, as far as can be told without them. Otherwise
    says all that is wrong and exits."""
    from orchestrator.spec.loading import load

    loaded = load(source, overrides)
    if lines := loaded.report():
        wrong(*lines, f"{source}: nothing was sent")
    spec = loaded.require()
    _check(spec, allow_code)  # before a look at its networks, which runs the code that it names
    root = getattr(spec.data, "root", None)
    if root is None or ("://" not in root and Path(root).expanduser().exists()):
        return load_checked(source, overrides).require()
    print(f"{root}: not on this machine; data, networks and methods are looked at on the cluster", file=sys.stderr)
    return spec


def shared_folder(spec: Spec | None, out: str | None) -> str:
    """The sweep's folder, if all machines can see it; else says what to name."""
    from orchestrator.api import folder_for
    from orchestrator.engine.finding import folder_at

    folder = folder_for(spec, out) if spec else folder_at(out or "")
    named = out or (spec.storage if spec else None)
    if folder.shared and (named is None or not Path(named).is_absolute()):
        wrong(
            f"--out {named or folder.path}: the cluster's machines do not see this machine's folder; name s3://BUCKET/"
            f"FOLDER, or the absolute path of a folder that they and this machine share"
        )
    return folder.address


def _check(spec: Spec, allow_code: bool) -> None:
    """Refuse what would not work on other machines, or run what the cluster's owner has not agreed to."""
    from orchestrator.spec.code import code_named

    if not allow_code and (code := code_named(spec)):
        wrong(
            *code,
            "a spec that names code runs it on the cluster; look at it, then add --allow-code, which sends the source "
            "in this folder along",
        )
    root = getattr(spec.data, "root", None)
    if root is not None and "://" not in root and not Path(root).expanduser().is_absolute():
        wrong(
            f"data.root: {root}: is a folder of this machine; name an absolute path that is the same on every machine "
            "of the cluster, or s3://BUCKET/FOLDER, which each of them copies once"
        )
