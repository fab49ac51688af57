"""What is wrong with a spec that only nets and data can tell: merged by the command line with the problems of
its shape, so that all is reported at once."""

from __future__ import annotations

from fnmatch import fnmatch

from methods import budget
from methods.layers import prunable_layers
from orchestrator.engine.data import DataError, DataSet, load_data
from orchestrator.engine.nets import ModelError, check_model, fault_on_one_image, skeleton
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.setting import Setting
from orchestrator.engine.train import steps_per_epoch
from orchestrator.engine.trials import Trial, model_label, sparsities
from orchestrator.spec.arms import expand
from orchestrator.spec.loading import Loaded
from orchestrator.spec.models import Model, Recipe, Spec
from orchestrator.spec.problems import Problem, SpecError, nearest

MAX_LABEL = 120
"""Characters of a network's part of a trial's name; file systems allow 255 for all of it."""


def check(loaded: Loaded) -> list[Problem]:
    """Problems with data, networks and methods, as far as the spec's other sections let them be looked at."""
    models = loaded.parts.get("model", [])
    if "data" not in loaded.parts:
        return _check_names(models)
    try:
        data = load_data(loaded.parts["data"])
    except DataError as error:
        return [Problem(("data",), message) for message in error.problems] + _check_names(models)
    found = [check_model(model, len(data.classes), data.shape) for model in models]
    problems = [Problem(("model", i, *path), message) for i, own in enumerate(found) for path, message in own]
    problems += _check_labels(models)
    if "recipe" in loaded.parts:
        problems += _check_recipe(loaded.parts["recipe"], data)
    if not {"model", "recipe", "methods"} <= loaded.parts.keys():
        return problems
    # a fault in another section, such as tracking, must not hide what is wrong here
    spec = loaded.spec or Spec.model_construct(**loaded.parts)
    right = {i: Setting(spec, model) for i, model in enumerate(models) if not found[i]}
    settings = list(right.values())
    return [*problems, *_check_last_step(settings), *_check_layers(spec, right), *_check_methods(spec, settings)]


def notes(loaded: Loaded) -> list[str]:
    """What a user should know of the data though nothing is wrong with it, of a spec without problems."""
    return list(load_data(loaded.require().data).notes)


def _check_recipe(recipe: Recipe, data: DataSet) -> list[Problem]:
    """A recipe that does not go with the images, or with its own length."""
    problems = []
    images, side = len(data.train.labels), min(data.shape[1:])
    per_epoch = steps_per_epoch(images, recipe.batch)
    if images < recipe.batch:
        problems.append(
            Problem(("recipe", "batch"), f"{recipe.batch} is more than the {images} training images; lower it")
        )
    if recipe.schedule.warmup.iterations(per_epoch) >= recipe.epochs * per_epoch:
        message = f"{recipe.schedule.warmup} is not shorter than the training of {recipe.epochs} epochs; shorten it"
        problems.append(Problem(("recipe", "schedule", "warmup"), message))
    if recipe.augmentation.crop > side:
        message = f"{recipe.augmentation.crop} is more than the {side} pixels of an image's side; lower it"
        problems.append(Problem(("recipe", "augmentation", "crop"), message))
    return problems


def _check_last_step(settings: list[Setting]) -> list[Problem]:
    """Networks that would fail at the end of the first epoch, where a single image is left over."""
    return [
        Problem(
            ("recipe", "batch"),
            f"leaves one image for the last step of an epoch, on which {setting.model.name!r} cannot train ({fault}); "
            "choose another",
        )
        for setting in settings
        if _last_batch(setting) == 1 and (fault := fault_on_one_image(setting.skeleton, setting.data.shape))
    ]


def _last_batch(setting: Setting) -> int:
    """Images in the last step of an epoch."""
    batch = setting.spec.recipe.batch
    return len(setting.data.train.labels) % batch or batch


def _check_names(models: list[Model]) -> list[Problem]:
    """What is wrong with networks whose images are not known: names and options."""
    problems: list[Problem] = []
    for i, model in enumerate(models):
        try:
            skeleton(model, 10, (3, 32, 32))
        except ModelError as error:
            problems += [Problem(("model", i, *path), message) for path, message in error.problems]
    return problems


def _check_labels(models: list[Model]) -> list[Problem]:
    """Networks that would be called the same, two weights files of one name in two folders; and names too long for a
    folder's."""
    labels = [model_label(model) for model in models]
    same = [
        Problem(("model", i), f"would be called {label!r} like another network; rename its weights file")
        for i, label in enumerate(labels)
        if label in labels[:i]
    ]
    return same + [
        Problem(
            ("model", i),
            f"its name, options and weights make a folder's name of {len(label)} characters, {label[:40]}...; at most "
            f"{MAX_LABEL} are allowed: shorten them",
        )
        for i, label in enumerate(labels)
        if len(label) > MAX_LABEL
    ]


def _check_methods(spec: Spec, settings: list[Setting]) -> list[Problem]:
    """Let every method plan every sparsity on every network, with one seed."""
    problems: dict[Problem, None] = {}
    for setting in settings:
        model, weights = setting.model, budget.total(setting.layers)
        empty = [sparsity for sparsity in spec.sparsities if weights and not budget.kept(weights, sparsity)]
        for sparsity in empty:
            message = f"keeps none of the {weights:,} prunable weights of {model.name}; lower it"
            problems[Problem(("sparsities", spec.sparsities.index(sparsity)), message)] = None
        for i, method in enumerate(spec.methods if weights else ()):
            for arm in expand(method):
                refused: dict[str, list[str]] = {}
                try:
                    tried = [each for each in sparsities(spec, arm) if each not in empty]
                except SpecError as error:
                    problems |= {Problem(("methods", i), message): None for message in error.lines}
                    continue
                for sparsity in tried:
                    try:
                        plan_trial(setting, Trial(model, arm, sparsity, spec.seeds[0]))
                    except ValueError as error:
                        refused.setdefault(str(error), []).append(str(sparsity))
                for why, at in refused.items():
                    message = f"{arm.label} on {model.name} at sparsity {', '.join(at)}: {why}"
                    problems[Problem(("methods", i), message)] = None
    return list(problems)


def _check_layers(spec: Spec, settings: dict[int, Setting]) -> list[Problem]:
    """Patterns that exclude nothing, or everything, and layers whose weight cannot be masked. `settings`: the
    networks that can be looked at, by their place in the spec."""
    problems, names = [], []
    for i, setting in settings.items():
        if not setting.layers:
            message = f"leaves no layer of {setting.model.name} to prune; exclude fewer"
            problems.append(Problem(("prunable", "exclude"), message))
        names += [layer.name for layer in prunable_layers(setting.skeleton)]
        trained = {name for name, weight in setting.skeleton.named_parameters() if weight.requires_grad}
        problems += [
            Problem(
                ("model", i),
                f"the weight of layer {layer.name!r} is no parameter that trains (frozen or computed from others): it "
                "cannot be pruned; name the layer in prunable.exclude",
            )
            for layer in setting.layers
            if layer.parameter not in trained
        ]
    for i, pattern in enumerate(spec.prunable.exclude if names else ()):
        if not any(fnmatch(name, pattern) for name in names):
            message = f"{pattern!r} matches no prunable layer{nearest(pattern, names)} layers: {', '.join(names)}"
            problems.append(Problem(("prunable", "exclude", i), message))
    return problems
