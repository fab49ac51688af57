"""A sweep in made-up time: a real plan, and numbers that were worked out by hand."""

import pytest
from small_plans import DENSE, LOTTERY_50, LOTTERY_75, RANDOM, small_plan

from orchestrator.sweep.simulation import Part, Simulation


@pytest.fixture(scope="module")
def plan():
    return small_plan([0])


def simulate(plan, slots, seconds, after=lambda planned: [], has=lambda key: False):
    """Trainings of so many seconds; `after` is what a trial does at its end."""

    def parts(planned):
        stages = [Part(key, seconds, goal=key) for key in plan.segments(planned)]
        return [*stages, *after(planned)]

    return Simulation(plan, slots, parts, has).run()


def begins(simulation):
    return {trial: events[0]["time"] for trial, events in simulation.events.items()}


def test_on_one_slot_every_training_counts_once(plan):
    found = simulate(plan, 1, 10.0)
    # dense's, two levels, and random's at 50 and 75 %
    assert found.seconds == 50
    assert list(found.events) == [LOTTERY_75, LOTTERY_50, DENSE, RANDOM, RANDOM.replace("s50", "s75")]
    assert found.busy == pytest.approx(1)


def test_slots_take_what_can_run_and_wait_for_nothing(plan):
    found = simulate(plan, 2, 10.0)
    # 0-30: dense's and the levels. Beside it 0-20: random's two; at 10 dense's is there, at 20 the first level
    assert found.seconds == 30
    assert begins(found) == {LOTTERY_75: 0, RANDOM: 0, RANDOM.replace("s50", "s75"): 10, DENSE: 10, LOTTERY_50: 20}
    assert found.busy == pytest.approx(1)


def test_a_slot_that_has_nothing_else_waits_for_a_stage_in_the_making(plan):
    found = simulate(plan, 3, 10.0)
    # random's two and dense's are done at 10, dense's by the trial at 75 %; the trial at 50 % begins at 10, when its
    # level is in the making, and waits for it until 20
    assert found.seconds == 30
    assert begins(found)[LOTTERY_50] == 10
    assert [event["time"] for event in found.events[LOTTERY_50]] == [10, 10, 20, 20]


def test_what_exists_takes_no_time(plan):
    dense, *_ = plan.segments(plan.by_id[DENSE])
    assert simulate(plan, 1, 10.0, has=lambda key: key == dense).seconds == 40


def test_a_stage_is_not_made_where_its_goal_is_there(plan):
    parts = {DENSE: [Part("cut", 5.0, goal="end"), Part("end", 5.0, goal="end")]}
    found = Simulation(plan, 1, lambda planned: parts.get(planned.id, []), lambda key: key == "end").run()
    assert found.seconds == 0


def test_all_others_pause_while_a_latency_is_measured(plan):
    def after(planned):
        return [Part("latency", 3.0, alone=True)]

    # measured once: by random's first at 10, while the other slot stands still in the second level
    found = simulate(plan, 2, 10.0, after)
    assert found.seconds == 33
    waits = [event["time"] for event in found.events[LOTTERY_75] if event.get("waiting")]
    assert waits == [10]
    # between the first start and the last, at 23, the two slots work for 46 s less the three of the pause
    assert found.busy == pytest.approx(43 / 46)
