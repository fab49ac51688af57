"""What ends a search before all its trials: no result to go on with, time, a space that is used up."""

from orchestrator.engine.files import read_sealed
from orchestrator.sweep.search_files import write_all


def test_a_mixture_whose_parts_never_come_ends_the_search(start):
    sweep = start(space="mixture")
    for planned in sweep.proposals(5):
        sweep.finish(planned, status="failed" if planned.trial.search == 3 else "done")
    assert sweep.search.over == "the space mixture is made from lamp, whose trial has no ticket"
    assert sweep.search.complete


def test_a_search_in_which_all_fails_ends(start):
    sweep = start()
    while running := sweep.proposals(1):
        sweep.finish(running[0], status="failed")
    assert "all failed" in sweep.search.over
    assert len(sweep.search.trials) < 14
    assert sweep.search.best == []
    assert sweep.search.finished
    write_all(sweep.search)
    assert read_sealed(sweep.folder.path / "search" / "summary.json")["best"] == []


def test_the_time_limit_makes_no_more_proposals_and_the_finalists_still_run(start):
    clock = [0.0]
    sweep = start(max_hours=1, hours=lambda: clock[0])
    sweep.run(until=7)
    clock[0] = 1.5
    sweep.run()
    assert sweep.search.over == "search.max_hours: 1 is over"
    assert 7 <= len(sweep.search.trials) < 14
    finalists = [p.id for p in sweep.waiting if "searched" in p.id]
    assert finalists
    again = start(max_hours=1)  # a new command, whose clock begins anew
    again.run()
    assert again.search.over == "search.max_hours: 1 is over"
    assert [p.id for p in again.waiting if "searched" in p.id] == finalists
    clock[0] = 1.5
    alone = {"folder": "alone", "max_hours": 1, "finalists": {"best": 0}}
    tried = len(start(hours=lambda: clock[0], **alone).run().search.trials)
    assert len(start(**alone).run().search.trials) == tried < 14
    longer = start(max_hours=2).run()
    assert (longer.search.over, len(longer.search.trials)) == (None, 14)
    assert len(start(max_hours=2).search.trials) == 14


def test_a_space_that_holds_few_ratios_ends_when_they_are_tried(start):
    sweep = start(space={"name": "erk_power", "power": [0.99999, 1.0]}, warm_starts=["erk"], trials=50)
    sweep.run()
    assert "hardly any others" in sweep.search.over
    kept = [tuple(c for c, _ in sweep.counts(planned)) for planned in sweep.search.trials.values()]
    assert len(kept) == len(set(kept)) < 50
