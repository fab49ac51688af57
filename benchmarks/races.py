"""Two hosts that finish one stage at the same moment: who wins, and is what is kept whole?

    python benchmarks/races.py [--rounds 1000] [--json races.json]

Each round, two processes with folders of their own write the same stage with other content at once, on a folder that
both see and in S3 (moto's server, on this machine). A third reads what was kept. Expected: one winner a round, and
the stage is the winner's to the last byte.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from object_store import SETTINGS, object_store

from orchestrator.engine.finding import folder_at
from orchestrator.engine.folder import SweepFolder

VALUES = 25_000
"""Of a stage: 100 KB, written in several pieces."""
RACERS = 2


def key(number: int) -> str:
    """A stage's key."""
    return f"{number:064x}"[::-1]


def _value(number: int, rounds: int, i: int) -> float:
    """What a racer writes in a round, and nobody else ever."""
    return float(number * rounds + i)


def racer(number: int, address: str, cache: str, rounds: int, ready: Barrier, told: Any) -> None:
    """Write the stage of every round as soon as all are there, and tell in which rounds it was the first."""
    os.environ["JACKPOT_CACHE"] = cache
    store, won = folder_at(address).store, []
    for i in range(rounds):
        tensors = {"w": torch.full((VALUES,), _value(number, rounds, i))}
        ready.wait()
        if store.write(key(i), tensors, {"racer": number}):
            won.append(i)
    told.put((number, won))


def race(address: str, rounds: int, scratch: Path) -> dict[str, int]:
    """Rounds with one winner, with none or several, and in which what is kept is not the winner's, whole."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(RACERS), context.SimpleQueue()
    racers = [
        context.Process(target=racer, args=(number, address, str(scratch / str(number)), rounds, ready, told))
        for number in range(RACERS)
    ]
    for process in racers:
        process.start()
    won = dict(told.get() for _ in racers)
    for process in racers:
        process.join()
    os.environ["JACKPOT_CACHE"] = str(scratch / "reader")
    found = {"rounds": rounds, "one_winner": 0, "won_by_first": len(won[0]), "torn": 0}
    reader: SweepFolder = folder_at(address)
    for i in range(rounds):
        winners = [number for number in won if i in set(won[number])]
        found["one_winner"] += len(winners) == 1
        kept = reader.store.read(key(i))
        written = torch.full((VALUES,), _value(winners[0] if winners else RACERS, rounds, i))
        found["torn"] += kept is None or not torch.equal(kept[0]["w"], written)
    return found


def on_both(rounds: int) -> dict[str, dict[str, int]]:
    """The races on a folder and in S3."""
    import boto3

    with object_store() as address, tempfile.TemporaryDirectory(prefix="jackpot-races-") as made:
        os.environ |= {**SETTINGS, "AWS_ENDPOINT_URL": address}
        boto3.client("s3").create_bucket(Bucket="races")
        scratch = Path(made)
        return {
            "folder": race(str(scratch / "sweep"), rounds, scratch / "f"),
            "s3": race("s3://races/sweep", rounds, scratch / "s"),
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    found = on_both(given.rounds)
    print("| storage | rounds | one winner | won by the first racer | torn or another's |\n|---|---|---|---|---|")
    for name, row in found.items():
        print(f"| {name} | {row['rounds']} | {row['one_winner']} | {row['won_by_first']} | {row['torn']} |")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
