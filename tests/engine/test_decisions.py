"""What a search has decided on comes back from the file, whatever became of the driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.decisions import Decided, Decisions


def proposal(number: int, **changes: Any) -> Decided:
    content: dict[str, Any] = {
        "trial": f"net_hybrid-search{number}_s95_seed0", "key": f"key{number}", "sparsity": "0.95", "number": number,
        "options": {"ratios": {"conv": 0.1 + number / 3, "fc": 0.3}}, "point": {"power": 1.1 + number},
        "attrs": {"generation": 2}, "study_attrs": {"parents": [1, 2]},
    }  # fmt: skip
    return Decided(**(content | changes))


def finalist(place: int, number: int) -> Decided:
    return Decided(f"searched{place}", "key", {"ratios": {"conv": 0.25}}, "0.95", number, place, seed=100)


def test_what_was_decided_comes_back(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    assert made.all == []
    made.propose(proposal(3))
    made.propose(proposal(2))
    made.choose([finalist(1, 2), finalist(2, 3)])
    again = Decisions(tmp_path, "one")
    assert again.proposals == {3: proposal(3), 2: proposal(2)}
    assert again.finalists == [finalist(1, 2), finalist(2, 3)]
    assert again.all == made.all == [proposal(3), proposal(2), finalist(1, 2), finalist(2, 3)]
    assert (again.path, again.others) == (tmp_path / "search" / "decisions.jsonl", 0)


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Decisions(tmp_path, "one")
    (tmp_path / "search").mkdir()
    made.path.symlink_to("/dev/full")
    monkeypatch.setattr("orchestrator.engine.files.time.sleep", lambda _: made.path.unlink())
    made.propose(proposal(0))
    assert Decisions(tmp_path, "one").all == [proposal(0)]


def test_a_torn_line_is_no_decision_and_hides_no_other(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    made.propose(proposal(0))
    made.propose(proposal(1))
    whole = made.path.read_bytes()
    made.path.write_bytes(whole[:-20])
    again = Decisions(tmp_path, "one")
    assert again.proposals == {0: proposal(0)}
    again.propose(proposal(1, key="made anew"))
    again.propose(proposal(2))
    assert Decisions(tmp_path, "one").proposals == {0: proposal(0), 1: proposal(1, key="made anew"), 2: proposal(2)}


def test_the_first_of_two_decisions_on_a_proposal_counts(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    made.propose(proposal(0))
    made.propose(proposal(0, key="later"))
    assert Decisions(tmp_path, "one").proposals == {0: proposal(0)}


def test_decisions_of_another_search_are_counted_and_do_not_count(tmp_path: Path) -> None:
    Decisions(tmp_path, "one").propose(proposal(0))
    Decisions(tmp_path, "one").propose(proposal(1))
    Decisions(tmp_path, "one").choose([finalist(1, 0)])
    other = Decisions(tmp_path, "two")
    assert (other.proposals, other.finalists, other.others) == ({}, [], 2)
    other.propose(proposal(0, key="of two"))
    assert Decisions(tmp_path, "two").proposals == {0: proposal(0, key="of two")}
    back = Decisions(tmp_path, "one")
    assert (back.proposals, back.finalists, back.others) == (
        {0: proposal(0), 1: proposal(1)}, [finalist(1, 0)], 1
    )  # fmt: skip


def test_the_last_finalists_count(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    made.choose([finalist(1, 4), finalist(2, 5)])
    made.choose([finalist(1, 6)])
    assert Decisions(tmp_path, "one").finalists == [finalist(1, 6)]
    made.choose([])
    assert Decisions(tmp_path, "one").finalists == []


def test_the_same_finalists_are_not_written_again(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    made.choose([])
    assert not made.path.exists()
    made.choose([finalist(1, 4)])
    before = made.path.read_bytes()
    again = Decisions(tmp_path, "one")
    again.choose([finalist(1, 4)])
    assert made.path.read_bytes() == before


def test_a_line_that_is_no_decision_is_passed_over(tmp_path: Path) -> None:
    made = Decisions(tmp_path, "one")
    made.propose(proposal(0))
    with open(made.path, "a", encoding="utf-8") as file:
        for said in ({"search": "one", "proposal": {"a field of tomorrow": 1}}, {"proposal": {}}, [1], "text"):
            file.write(json.dumps(said) + "\n")
    assert Decisions(tmp_path, "one").proposals == {0: proposal(0)}
