"""Every message of a bad spec: the text written, and the exact line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods import registry
from orchestrator.spec import load

BASE = {
    "name": "name: x",
    "data": "data: digits",
    "model": "model: convnet",
    "recipe": "recipe: {epochs: 1}",
    "methods": "methods: [dense]",
}
RECIPE_KEYS = (
    "epochs, batch, optimiser, lr, momentum, nesterov, weight_decay, label_smoothing, precision, compile, schedule, "
    "augmentation"
)
TOP_KEYS = (
    "name, data, model, recipe, methods, sparsities, seeds, search, prunable, resources, concurrency, failures, "
    "latency, sanity, tracking, storage, keep"
)
DATA = "digits, cifar10, cifar100, tiny_imagenet, imagenet, image_folder, fake, module:factory"
RATIOS = "uniform, balanced, erk, smart, ascend, linear_decay, cubic, lamp, magnitude"

# what is written for one section, and the problem it must give at the line `at` of that section
CASES = [
    # keys
    ("recipe: {epoch: 1}", ["recipe.epochs: missing, e.g. `epochs: 160`",
     f"recipe.epoch: unknown key; did you mean 'epochs'? known: {RECIPE_KEYS}"]),
    ("recipe: {epochs: 1, zzz: 1}", [f"recipe.zzz: unknown key; known: {RECIPE_KEYS}"]),
    ("sparsity: [0.9]", [f"sparsity: unknown key; did you mean 'sparsities'? known: {TOP_KEYS}"]),
    ("lr: 0.1", ["lr: unknown key; it belongs into the section 'recipe'"]),
    ("data: {name: digits, root: x}",
     ["data.root: unknown key; known: name, validation, split_seed, test"]),
    ("recipe: {epochs: 1, schedule: {nme: cosine}}",
     ["recipe.schedule.nme: unknown key; did you mean 'name'? known: name, at, gamma, warmup"]),
    ("methods: [{name: random, ration: erk}]",
     ["methods[0].ration: unknown key; did you mean 'ratio'? known: ratio, ratios, classifier_keep, same_as, variant"]),
    ("methods: [{name: dense, ratio: erk}]", ["methods[0].ratio: unknown key; known: none"]),
    ("methods: [{ratio: erk}]", ["methods[0].name: missing; a mapping here needs one"]),
    ("model: {width: 2}", ["model.name: missing; a mapping here needs one"]),
    ("model: [{width: 2}]", ["model[0].name: missing; a mapping here needs one"]),
    ("data: {test: 0.1}", [f"data: needs a `name`, one of {DATA}"]),
    ("data: image_folder", ["data.root: missing, e.g. `root: data/cifar10`"]),
    # allowed values and names
    ("data: digit", [f"data: unknown value 'digit'; did you mean 'digits'? allowed: {DATA}"]),
    ("data: {name: cifar_10}", [f"data: unknown value 'cifar_10'; did you mean 'cifar10'? allowed: {DATA}"]),
    ("data: TinyImageNet", [f"data: unknown value 'TinyImageNet'; did you mean 'tiny_imagenet'? allowed: {DATA}"]),
    ("data: {name: 3}", [f"data: expected one of {DATA}, found 3"]),
    ("data: {name: [digits]}", [f"data: expected one of {DATA}, found a list"]),
    ("recipe: {epochs: 1, optimiser: sgdd}",
     ["recipe.optimiser: unknown value 'sgdd'; did you mean 'sgd'? allowed: sgd, adam"]),
    ("recipe: {epochs: 1, optimiser: lion}", ["recipe.optimiser: unknown value 'lion'; allowed: sgd, adam"]),
    ("recipe: {epochs: 1, optimiser: 1}", ["recipe.optimiser: expected one of sgd, adam, found 1"]),
    ("recipe: {epochs: 1, schedule: {name: Cosine}}",
     ["recipe.schedule.name: unknown value 'Cosine'; did you mean 'cosine'? "
      "allowed: constant, milestones, cosine"]),
    ("keep: ticket", ["keep: unknown value 'ticket'; did you mean 'tickets'? allowed: all, tickets"]),
    ("keep:", ["keep: expected one of all, tickets, found nothing"]),
    ("methods: [lotery]",
     ["methods[0].name: unknown method 'lotery'; did you mean 'lottery'? "
      f"known: {', '.join(registry.names())}"]),
    ("methods: [{name: random, ratio: erc}]",
     [f"methods[0].ratio: unknown value 'erc'; did you mean 'erk'? allowed: {RATIOS}"]),
    ("methods: [dense, {name: random, ratio: [erk, 3]}]",
     [f"methods[1].ratio[1]: expected one of {RATIOS}, found 3"]),
    # bounds
    ("recipe: {epochs: 0}", ["recipe.epochs: expected a number not below 1, found 0"]),
    ("recipe: {epochs: 1, lr: 0}", ["recipe.lr: expected a number above 0, found 0"]),
    ("recipe: {epochs: 1, momentum: 1.0}", ["recipe.momentum: expected a number below 1, found 1.0"]),
    ("seeds: [0, -1]", ["seeds[1]: expected a number not below 0, found -1"]),
    ("sparsities: [0.9, 1]", ["sparsities[1]: expected a number below 1, found 1"]),
    ("sparsities: [90]", ["sparsities[0]: expected a number below 1, found 90; write 0.9 for 90 % removed"]),
    ("sparsities: [0]", ["sparsities[0]: expected a number above 0, found 0"]),
    ("sparsities: [0.1234567890123]",
     ["sparsities[0]: expected at most 12 decimals, found 0.1234567890123"]),
    ("seeds: []", ["seeds: expected a list of at least 1, found an empty list"]),
    ("methods: []", ["methods: expected a list of at least 1, found an empty list"]),
    ("model: []", ["model: expected a list of at least 1, found an empty list"]),
    ("methods: [{name: random, ratio: []}]",
     ["methods[0].ratio: expected at least one value, found an empty list"]),
    ("methods: [{name: random, classifier_keep: 2}]",
     ["methods[0].classifier_keep: expected a number not above 1, found 2"]),
    ("methods: [{name: snip, per_class: [1, 0]}]",
     ["methods[0].per_class[1]: expected a number not below 1, found 0"]),
    ("resources: {gpu: 2}", ["resources.gpu: a trial uses at most one GPU"]),
    ("latency: {batches: []}", ["latency.batches: expected a list of at least 1, found an empty list"]),
    ("latency: {batches: [0]}", ["latency.batches[0]: expected a number not below 1, found 0"]),
    ("latency: {batches: [1, 0]}", ["latency.batches[1]: expected a number not below 1, found 0"]),
    ("latency: {batches: [64, 64]}", ["latency.batches: 64 stands twice; remove one"]),
    ("latency: {seconds: 0}", ["latency.seconds: expected a number above 0, found 0"]),
    ("latency: off",
     ["latency: expected a section with the keys enabled, batches, seconds, runtimes, device, found the text 'off'"]),
    ("latency: {runtimes: [compact]}",
     ["latency.runtimes: `dense` is measured beside every other; write [dense, compact]"]),
    ("latency: {runtimes: [dense, dense]}", ["latency.runtimes: dense stands twice; remove one"]),
    ('tracking: {experiment: ""}', ["tracking.experiment: expected some text, found the text ''"]),
    (f"name: {'x' * 101}",
     [f"name: expected at most 100 characters, found the text '{'x' * 57}...'"]),
    # types
    ('recipe: {epochs: "3"}', ["recipe.epochs: expected a whole number, found the text '3'"]),
    ("recipe: {epochs: 3.5}", ["recipe.epochs: expected a whole number, found 3.5"]),
    ("recipe: {epochs: true}", ["recipe.epochs: expected a whole number, found true"]),
    ("recipe: {epochs: }", ["recipe.epochs: expected a whole number, found nothing"]),
    ("recipe: {epochs: {a: 1}}", ["recipe.epochs: expected a whole number, found a mapping"]),
    ("recipe: {epochs: 1, lr: fast}", ["recipe.lr: expected a number, found the text 'fast'"]),
    ("recipe: {epochs: 1, nesterov: on}", ["recipe.nesterov: expected true or false, found the text 'on'"]),
    ("recipe: {epochs: 1, nesterov: 1}", ["recipe.nesterov: expected true or false, found 1"]),
    ("recipe: 3", [f"recipe: expected a section with the keys {RECIPE_KEYS}, found 3"]),
    ("tracking:",
     ["tracking: expected a section with the keys enabled, uri, experiment, system_metrics, found nothing"]),
    ("tracking: {uri: 5000}", ["tracking.uri: expected text, found 5000; quote it: '5000'"]),
    ("name: 7", ["name: expected text, found 7; quote it: '7'"]),
    ("name: [a]", ["name: expected text, found a list"]),
    ("seeds: 3", ["seeds: expected a list, found 3; write [3]"]),
    ("methods: random", ["methods: expected a list, found the text 'random'; write [random]"]),
    ("methods: {name: random}", ["methods: expected a list, found a mapping"]),
    ("methods: [3]", ["methods[0]: expected a name, or a mapping with a name and options, found 3"]),
    ('methods: [""]', ["methods[0]: expected some text, found the text ''"]),
    ("model: [convnet, 3]", ["model[1]: expected a name, or a mapping with a name and options, found 3"]),
    ("model:", ["model: expected a name, or a mapping with a name and options, found nothing"]),
    ("model: {name: resnet20, width: [1, 2]}",
     ["model.width: expected true or false, a whole number, a number or text, found a list"]),
    ("model: {name: 3}", ["model.name: expected text, found 3; quote it: '3'"]),
    ("data: 3",
     ["data: expected the name of a data set, or a mapping with its name and options, found 3"]),
    ('seeds: "0, 1"', ["seeds: expected a list, found the text '0, 1'; write ['0, 1']"]),
    ('"a\\nb": 1', [f"a\\nb: unknown key; known: {TOP_KEYS}"]),
    ("sparsities: [a]", ["sparsities[0]: expected a number, found the text 'a'"]),
    ("sparsities: [true]", ["sparsities[0]: expected a number, found true"]),
    ("sparsities: 0.9", ["sparsities: expected a list, found 0.9; write [0.9]"]),
    ("prunable: {exclude: fc}", ["prunable.exclude: expected a list, found the text 'fc'; write [fc]"]),
    ("data: {name: image_folder, root: x, mean: [0.5, a]}",
     ["data.mean[1]: expected a number, found the text 'a'"]),
    ("data: {name: cifar10, download: 1}", ["data.download: expected true or false, found 1"]),
    ("data: {name: cifar100, rot: x}",
     ["data.rot: unknown key; did you mean 'root'? known: name, validation, split_seed, mean, std, root, download"]),
    ("data: imagenet", ["data.root: missing, e.g. `root: data/imagenet`"]),
    ("data: {name: imagenet, root: x, size: 288}",
     ["data: no square of 288 fits into a shorter side of 256; raise `resize`"]),
    ("data: {name: fake, shape: [3, 8]}", ["data.shape[2]: missing"]),
    ("data: {name: fake, shape: [3, 8, 8, 8]}", ["data.shape: expected a list of at most 3, found a list"]),
    ("data: {name: fake, shape: [0, 8, 8]}", ["data.shape[0]: expected a number not below 1, found 0"]),
    ("data: {name: 'mine:load', depth: [1]}",
     ["data.depth: expected true or false, a whole number, a number or text, found a list"]),
    ("recipe: {epochs: 1, augmentation: {crop: 4, random_resized_crop: [0.08, 1]}}",
     ["recipe.augmentation: crop and random_resized_crop are two ways to cut an image; choose one"]),
    ("recipe: {epochs: 1, augmentation: {random_resized_crop: [1, 0.5]}}",
     ["recipe.augmentation: random_resized_crop goes from the least share to the greatest; write [0.5, 1]"]),
    ("recipe: {epochs: 1, augmentation: {random_resized_crop: [0, 1]}}",
     ["recipe.augmentation.random_resized_crop[0]: expected a number above 0, found 0"]),
    ("methods: [{name: lottery, fraction: {a: 1}}]",
     ["methods[0].fraction: expected a number, found a mapping"]),
    ("methods: [{name: lottery, fraction: [0.2, [0.3]]}]",
     ["methods[0].fraction[1]: expected true or false, a whole number, a number or text, found a list"]),
    ("methods: [{name: lottery, exact: yes}]",
     ["methods[0].exact: expected true or false, found the text 'yes'"]),
    ("methods: [{name: snip, batches: true}]", ["methods[0].batches: expected a whole number, found true"]),
    # rules of one section
    ("name: a b",
     ["name: a sweep's name is letters, digits, '.', '_' and '-', and starts with a letter or digit"]),
    ("seeds: [1, 2, 1]", ["seeds: 1 stands twice; remove one"]),
    ("sparsities: [0.9, 0.90]", ["sparsities: 0.9 stands twice; remove one"]),
    ("model: [convnet, {name: convnet}]", ["model: the network 'convnet' stands twice; remove one"]),
    ("recipe: {epochs: 1, schedule: {name: milestones}}",
     ["recipe.schedule: `at` goes with `name: milestones`, and milestones need it, e.g. at: [80ep, 120ep]"]),
    ("recipe: {epochs: 1, schedule: {at: [1ep]}}",
     ["recipe.schedule: `at` goes with `name: milestones`, and milestones need it, e.g. at: [80ep, 120ep]"]),
    ("recipe: {epochs: 1, schedule: {warmup: 5}}",
     ["recipe.schedule.warmup: 5 is no step: expected epochs like '10ep' or iterations like '500it'"]),
    ("recipe: {epochs: 1, schedule: {name: milestones, at: [1ep, 0.5it]}}",
     ["recipe.schedule.at[1]: '0.5it': iterations are whole numbers"]),
    ("recipe: {epochs: 1, nesterov: true, optimiser: adam}",
     ["recipe: nesterov needs `optimiser: sgd` and a momentum above 0"]),
    ("methods: [{name: lottery, rewind_to: 5}]",
     ["methods[0].rewind_to: 5 is no step: expected epochs like '10ep' or iterations like '500it'"]),
    # rules between methods
    ("methods: [{name: random, ratio: [erk, smart]}, random]",
     ["methods[1]: 'random' is 'random-smart' of methods[0] again "
      '(ratio "smart", ratios null, '
      'classifier_keep null, same_as null, variant "exact"); remove one']),
    ("methods: [dense, dense]",
     ["methods[1]: 'dense' is 'dense' of methods[0] again (no options); remove one"]),
    (f"methods: [{{name: snip, per_class: {list(range(1, 41))}, batches: {list(range(1, 41))}}}]",
     ["methods[0]: the lists make a grid of 1,600 arms; at most 1,000 are allowed"]),
]  # fmt: skip


def write(tmp_path: Path, sections: dict[str, str]) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(sections.values()) + "\n")
    return path


@pytest.mark.parametrize(("text", "messages"), CASES, ids=[text[:70] for text, _ in CASES])
def test_message(tmp_path: Path, text: str, messages: list[str]) -> None:
    key = text.partition(":")[0]
    # some sparsities, so that methods that need them add no problem of their own
    sections = {**BASE, "sparsities": "sparsities: [0.5]", key: text}
    path = write(tmp_path, sections)
    line = list(sections).index(key) + 1
    assert load(path).report() == [f"{path}:{line}: {message}" for message in messages]


@pytest.mark.parametrize(
    ("key", "example"),
    [
        ("name", "my-sweep"),
        ("data", "digits"),
        ("model", "resnet20"),
        ("recipe", "{epochs: 160}"),
        ("methods", "[dense, random]"),
    ],
)
def test_missing_section(tmp_path: Path, key: str, example: str) -> None:
    path = write(tmp_path, {other: text for other, text in BASE.items() if other != key})
    assert load(path).report() == [f"{path}:1: {key}: missing, e.g. `{key}: {example}`"]


@pytest.mark.parametrize("extra", [{}, {"sparsities": "sparsities: []"}])
def test_methods_that_need_sparsities(tmp_path: Path, extra: dict[str, str]) -> None:
    path = write(tmp_path, {**BASE, "methods": "methods: [dense, snip]", **extra})
    line = 6 if extra else 1
    said = "sparsities: 'snip' needs some, e.g. `sparsities: [0.9, 0.95, 0.98]`"
    assert load(path).report() == [f"{path}:{line}: {said}"]


def test_dense_alone_needs_none(tmp_path: Path) -> None:
    assert load(write(tmp_path, BASE)).report() == []


def test_all_faults_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: a b\n"
        "data:\n"
        "  name: digits\n"
        "  test: 1\n"
        "model: convnet\n"
        "recipe:\n"
        "  epoch: 1\n"
        "  lr: 0.1\n"
        "  lr: 0.2\n"
        "methods:\n"
        "  - lotery\n"
        "  - 3\n"
        "  - name: random\n"
        "    ratio:\n"
        "      - erk\n"
        "      - erc\n"
        "sparsities: [0.9, 2]\n"
        "other: 1\n"
    )
    report = load(path).report()
    assert [line.removeprefix(f"{path}:").split(": ")[:2] for line in report] == [
        ["1", "name"],
        ["4", "data.test"],
        ["6", "recipe.epochs"],
        ["7", "recipe.epoch"],
        ["8", "recipe.lr"],
        ["11", "methods[0].name"],
        ["12", "methods[1]"],
        ["16", "methods[2].ratio[1]"],
        ["17", "sparsities[1]"],
        ["18", "other"],
    ]


def test_no_word_of_pydantic(tmp_path: Path) -> None:
    path = write(tmp_path, {key: f"{key}: {{a: [1]}}" for key in BASE})
    report = "\n".join(load(path).report()).replace(str(path), "")
    assert report
    for word in ("Input", "pydantic", "_type", "valid", "instance", "union"):
        assert word not in report
