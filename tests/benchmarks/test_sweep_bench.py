"""`benchmarks/sweep.py`: the arithmetic of its table."""

from sweep import by_group, table


def test_trials_a_second_and_memory_of_each_tenth():
    # 21 trials: the first ten gaps of half a second, the others of a quarter
    ends = [0.5 * n for n in range(11)] + [5 + 0.25 * n for n in range(1, 11)]
    samples = [(0.25 * n, 100.0 + n) for n in range(31)]
    groups = by_group(list(reversed(ends)), samples)
    assert [group["trials"] for group in groups] == [2] * 10
    assert [group["per_second"] for group in groups] == [2.0] * 5 + [4.0] * 5
    # samples at 0, 0.25, .. 1 second; the last ones at 7, 7.25 and 7.5
    assert (groups[0]["mb"], groups[-1]["mb"]) == (102, 129)


def test_a_tenth_without_a_sample_has_the_nearest():
    assert [group["mb"] for group in by_group([0, 0.1, 0.2], [(5.0, 7.0), (9.0, 8.0)])] == [7, 7]


def test_the_table():
    groups = [{"trials": 100, "per_second": speed, "mb": mb} for speed, mb in ((10.0, 200.0), (8.0, 220.0))]
    plain = [{"trials": 100, "per_second": 40.0, "mb": 100.0}] * 2
    found = {
        "noop": {"jackpot": {"groups": groups, "tracking": "MLflow is up to date"}, "plain": {"groups": plain}},
        "real": {
            "spec": ["quickstart"], "busy": 0.98, "seconds": 100.0, "epochs": 33.0, "epochs_distinct": 30.0,
            "predicted": {"seconds": 110.0, "busy": 0.99},
        },
    }  # fmt: skip
    rows = list(zip(*(column.cells for column in table(found).columns), strict=True))
    assert rows[0][1:] == ("10.0; 200", "40.0; 100", "0.25; 2.00")
    assert rows[2] == ("last over first", "0.80; 1.10", "1.00; 1.00", "")
    assert rows[4][:2] == ("quickstart: slots busy", "98.0 %")
    assert rows[5][:2] == ("  epochs trained over distinct", "1.100")
    assert rows[-1] == ("  forecast, and over these", "110", "", "1.10")
