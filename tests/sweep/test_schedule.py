"""Which trial starts next, without Ray: a real plan, a store that is a set, and slots that are a list."""

import random
import sys
import threading

import pytest
from small_plans import DENSE, LOTTERY_50, LOTTERY_75, RANDOM, small_plan

from orchestrator.sweep.schedule import Schedule


@pytest.fixture(scope="module")
def plan():
    return small_plan([0, 1])


@pytest.fixture
def made():
    """The stages that exist."""
    return set()


@pytest.fixture
def schedule(plan, made):
    return Schedule(plan, made.__contains__)


def finish(schedule, plan, made, trial):
    made |= {request.key for request in plan.by_id[trial].chain.requests}
    made |= set(plan.segments(plan.by_id[trial]))
    schedule.ended(trial)


def test_the_longest_chain_is_first_of_each_seed(schedule, plan):
    assert [p.id for p in plan.planned][:2] == [LOTTERY_75, LOTTERY_75.replace("seed0", "seed1")]
    assert schedule.next().id == LOTTERY_75
    # another seed's chain shares nothing with the one that runs
    assert schedule.next().id == LOTTERY_75.replace("seed0", "seed1")


def test_what_would_only_wait_comes_after_what_can_run(schedule):
    taken = [schedule.next().id for _ in range(8)]
    assert taken[2:6] == [f"convnet_random_s{s}_seed{n}" for s in (50, 75) for n in (0, 1)]
    # the lottery at 50 % and the dense trial need the dense training that runs: handed out all the same, last
    assert set(taken[6:]) <= {f"{trial[:-1]}{n}" for trial in (LOTTERY_50, DENSE) for n in (0, 1)}


def test_a_stage_that_is_made_makes_its_trials_runnable(schedule, plan, made):
    schedule.next(), schedule.next()
    # the dense training of seed 0 is ready while its trial still runs; that of seed 1 is not
    dense = next(iter(plan.segments(plan.by_id[DENSE])))
    assert dense in plan.segments(plan.by_id[LOTTERY_75])
    made.add(dense)
    # the level at 50 % is the next in the making, so the lottery at 50 % waits, and the dense trial need not train
    order = [schedule.next().id for _ in range(5)]
    assert DENSE in order
    assert DENSE.replace("seed0", "seed1") not in order
    assert LOTTERY_50 not in order


def test_a_trial_is_handed_out_as_long_as_one_is_left(schedule, plan):
    taken = []
    while (planned := schedule.next()) is not None:
        taken.append(planned.id)
    assert sorted(taken) == sorted(plan.by_id)
    assert schedule.next() is None


@pytest.mark.parametrize("seed", range(20))
def test_slots_are_never_left_empty_whatever_the_order_of_the_ends(plan, made, seed):
    """Three slots, trials ending in any order: each runs once, and a slot waits only when nothing is left."""
    chance, schedule, slots, taken = random.Random(seed), Schedule(plan, made.__contains__), [], []
    while True:
        while len(slots) < 3 and (planned := schedule.next()) is not None:
            slots.append(planned.id)
            taken.append(planned.id)
        if not slots:
            break
        assert len(slots) == min(3, len(plan.planned) - len(taken) + len(slots))
        finish(schedule, plan, made, slots.pop(chance.randrange(len(slots))))
    assert sorted(taken) == sorted(plan.by_id)


def test_only_what_is_left_is_handed_out(plan, made):
    schedule = Schedule(plan.given(plan.by_id.keys() - {RANDOM}), made.__contains__)
    assert schedule.next().id == RANDOM
    assert schedule.next() is None


def test_a_failed_stage_takes_out_the_waiting_trials_that_need_it(schedule, plan, made):
    first = schedule.next().id
    assert first == LOTTERY_75
    dense = next(iter(plan.segments(plan.by_id[DENSE])))
    schedule.ended(first)
    assert {p.id for p in schedule.block(dense)} == {DENSE, LOTTERY_50}
    assert DENSE not in schedule.waiting
    assert RANDOM in schedule.waiting  # has trained nothing dense
    assert schedule.block(dense) == []


def test_a_failed_computation_blocks_too(schedule, plan):
    """Masks that cannot be found fail every trial that starts from them."""
    compute = next(r for r in plan.by_id[LOTTERY_50].chain.requests if r.kind == "compute")
    assert {p.id for p in schedule.block(compute.key)} == {LOTTERY_50, LOTTERY_75}


def test_stopping_hands_out_nothing_more(schedule):
    schedule.next()
    schedule.stop()
    assert schedule.next() is None
    assert list(schedule.running) == [LOTTERY_75]


def test_a_training_is_owned_by_the_first_trial_that_starts_it(plan):
    dense = next(iter(plan.segments(plan.by_id[DENSE])))
    assert plan.owners[dense] == LOTTERY_75
    # the lottery at 75 % passes through all that the dense trial and the lottery at 50 % train
    randoms = [f"convnet_random_s{s}_seed" for s in (50, 75)]
    assert set(plan.owners.values()) == {f"{trial}{n}" for trial in (LOTTERY_75[:-1], *randoms) for n in (0, 1)}


def test_it_may_be_stopped_from_another_thread_at_any_moment(plan, made):
    """As Ctrl-C does, while Tune asks for the next trial."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            schedule = Schedule(plan, made.__contains__)
            stop = threading.Thread(target=schedule.stop)
            stop.start()
            while schedule.next() is not None:
                pass
            stop.join()
            assert schedule.next() is None
    finally:
        sys.setswitchinterval(before)


def test_a_trial_that_tune_has_lost_is_handed_out_again_first(schedule):
    first, second = schedule.next().id, schedule.next().id
    schedule.again(first)
    assert [*schedule.running] == [second]
    assert schedule.next().id == first
    schedule.stop()
    schedule.again(first)
    assert schedule.next() is None
    assert [*schedule.running] == [second]


def test_a_store_that_is_away_keeps_no_slot_empty(plan):
    def away(key):
        raise OSError("the store is away")

    schedule = Schedule(plan, away)
    first = schedule.next()
    schedule.ended(first.id)
    others = len(plan.planned) - 1
    assert {first.id, *(schedule.next().id for _ in range(others))} == {*plan.by_id}
    assert schedule.next() is None
