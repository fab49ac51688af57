"""A user's network, `module:factory`: found, called, checked, and known by its source."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.layers import prunable_layers
from orchestrator.engine import source
from orchestrator.engine.nets import ModelError, build, check_model, skeleton, source_of
from orchestrator.spec.models import Model

SHAPE = (3, 8, 8)
Write = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the current folder, under a name not used before, and gives the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    written = []

    def write(text: str) -> str:
        written.append(f"usernet{next(_numbers)}")
        file = tmp_path / f"{written[-1]}.py"
        file.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
        return written[-1]

    yield write
    for name in written:
        sys.modules.pop(name, None)


LINEAR = """
    def make(num_classes, in_channels, hidden: int = 4, bias: bool = True, mode: str | None = None):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(in_channels * 64, hidden, bias), nn.Linear(hidden, num_classes)
        )
"""


def _problem(model: Model) -> str:
    ((path, message),) = check_model(model, 10, SHAPE)
    assert path == ("name",)
    return message


def test_a_factory_of_the_current_folder_gets_classes_channels_and_options(write: Write) -> None:
    model = Model(name=f"{write(LINEAR)}:make", hidden=6, bias=False, mode=None)
    assert check_model(model, 10, SHAPE) == []
    net = build(model, 10, SHAPE, 0)
    assert [layer.shape for layer in prunable_layers(net)] == [(6, 192), (10, 6)]
    assert net(torch.zeros(2, *SHAPE)).shape == (2, 10)
    assert not getattr(net, "residual", False)


def test_a_factory_without_in_channels_and_with_any_options_is_called_too(write: Write) -> None:
    name = write("def make(num_classes, **kw): return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))")
    assert check_model(Model(name=f"{name}:make", anything=3), 10, SHAPE) == []


def test_a_class_is_a_factory(write: Write) -> None:
    name = write(
        """
        class Net(nn.Module):
            residual = True
            def __init__(self, num_classes):
                super().__init__()
                self.fc = nn.Linear(192, num_classes)
            def forward(self, x):
                return self.fc(x.flatten(1))
        """
    )
    model = Model(name=f"{name}:Net")
    assert check_model(model, 10, SHAPE) == []
    assert skeleton(model, 10, SHAPE).residual


def test_torchvisions_networks_are_factories() -> None:
    model = Model(name="torchvision.models:resnet18")
    assert len(prunable_layers(skeleton(model, 10, SHAPE))) == 21


def test_initial_weights_depend_on_the_seed_alone(write: Write) -> None:
    model = Model(name=f"{write(LINEAR)}:make")
    first, again, other = (build(model, 10, SHAPE, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])


def test_a_skeleton_keeps_shared_weights_shared(write: Write) -> None:
    name = write(
        """
        class Net(nn.Module):
            def __init__(self, num_classes):
                super().__init__()
                self.a, self.b, self.fc = nn.Linear(192, 192), nn.Linear(192, 192), nn.Linear(192, num_classes)
                self.b.weight = self.a.weight
                self.register_buffer("scale", torch.tensor(2.0))
                self.start = self.scale.item()  # needs real values
            def forward(self, x):
                return self.fc(self.b(self.a(x.flatten(1)))) * self.scale
        """
    )
    model = Model(name=f"{name}:Net")
    bare = skeleton(model, 10, SHAPE)
    assert bare.a.weight is bare.b.weight
    assert all(value.is_meta for value in bare.state_dict().values())
    assert [layer.name for layer in prunable_layers(bare)] == ["a", "fc"]
    assert check_model(model, 10, SHAPE) == []


# What is refused


@pytest.mark.parametrize("name", ["mynets:", ":make"])
def test_half_a_name_is_refused(name: str) -> None:
    assert _problem(Model(name=name)) == f"{name!r}: expected module:factory, e.g. mynets:lenet"


@pytest.mark.parametrize(("name", "missing"), [("nosuchmodule:x", "nosuchmodule"), ("torch.nosuch:x", "torch.nosuch")])
def test_a_module_that_does_not_exist_is_named(name: str, missing: str) -> None:
    assert _problem(Model(name=name)) == (
        f"{name!r}: no module {missing!r} is installed or in the current folder; install it, or run jackpot from "
        "the folder that holds it"
    )


def test_a_module_that_imports_a_missing_one_says_which_and_where(write: Write) -> None:
    name = write("import nosuchmodule")
    message = _problem(Model(name=f"{name}:make"))
    assert message.startswith(
        f"'{name}:make': module '{name}' raised ModuleNotFoundError: No module named 'nosuchmodule' ("
    )
    assert message.endswith(f"{name}.py:3)")


def test_a_module_with_an_error_says_where(write: Write) -> None:
    name = write("1 / 0")
    assert "raised ZeroDivisionError: division by zero (" in _problem(Model(name=f"{name}:make"))


def test_a_factory_that_does_not_exist_is_named_with_those_that_do(write: Write) -> None:
    name = write("def lenet(num_classes): pass")
    message = _problem(Model(name=f"{name}:alexnet"))
    assert message.startswith(f"'{name}:alexnet': module '{name}' (")
    assert message.endswith(f"{name}.py) has no 'alexnet'; it has: lenet")


def test_what_cannot_be_called_is_no_factory(write: Write) -> None:
    name = write("make = 3")
    assert _problem(Model(name=f"{name}:make")) == f"'{name}:make': 'make' is a int; expected a function or class"


def test_a_factory_that_raises_says_what_and_where(write: Write) -> None:
    name = write("def make(num_classes):\n    raise RuntimeError('no luck')")
    message = _problem(Model(name=f"{name}:make"))
    assert message.startswith(f"'{name}:make' raised RuntimeError: no luck (")
    assert message.endswith(f"{name}.py:4)")


def test_a_factory_must_make_a_module(write: Write) -> None:
    name = write("def make(num_classes): return 3")
    assert _problem(Model(name=f"{name}:make")) == f"'{name}:make' returned a int; expected a torch.nn.Module"


def test_a_factory_must_take_the_number_of_classes(write: Write) -> None:
    name = write("def make(classes=10): return nn.Identity()")
    assert _problem(Model(name=f"{name}:make")) == "the factory takes no `num_classes`; add that parameter to it"
    name = write("def make(): return nn.Identity()")
    assert _problem(Model(name=f"{name}:make")) == "the factory takes no `num_classes`; add that parameter to it"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"hiden": 3}, (("hiden",), "unknown option; did you mean 'hidden'? known options: hidden, bias, mode")),
        ({"hidden": 2.5}, (("hidden",), "expected a whole number, found 2.5")),
        ({"hidden": True}, (("hidden",), "expected a whole number, found true")),
        ({"bias": 1}, (("bias",), "expected true or false, found 1")),
        ({"mode": 1}, (("mode",), "expected text or null, found 1")),
    ],
)
def test_options_are_checked_against_the_factorys_signature(
    options: dict[str, Any], problem: Any, write: Write
) -> None:
    assert check_model(Model(name=f"{write(LINEAR)}:make", **options), 10, SHAPE) == [problem]


def test_an_option_without_default_must_be_given(write: Write) -> None:
    name = write("def make(num_classes, size): return nn.Linear(size, num_classes)")
    assert check_model(Model(name=f"{name}:make"), 10, SHAPE) == [
        ((), "option 'size' is missing; this network needs it")
    ]


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes + 1))", "shape (2, 11)"),
        ("nn.Conv2d(3, num_classes, 3)", "shape (2, 10, 6, 6)"),
        ("Pair()", "tuple"),
    ],
)
def test_the_output_must_be_logits(body: str, made: str, write: Write) -> None:
    name = write(
        f"""
        class Pair(nn.Module):
            def forward(self, x): return x, x
        def make(num_classes): return {body}
        """
    )
    assert _problem(Model(name=f"{name}:make")) == (
        f"'{name}:make' gives {made} for 2 images; expected logits of shape (2, 10)"
    )


def test_a_network_that_gives_more_in_training_is_found(write: Write) -> None:
    name = write(
        """
        class Net(nn.Module):
            def __init__(self, num_classes):
                super().__init__()
                self.fc = nn.Linear(192, num_classes)
            def forward(self, x):
                y = self.fc(x.flatten(1))
                return (y, y) if self.training else y
        """
    )
    assert " gives tuple for 2 images" in _problem(Model(name=f"{name}:Net"))


def test_images_that_do_not_fit_are_named_with_their_size(write: Write) -> None:
    name = write("def make(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))")
    assert _problem(Model(name=f"{name}:make")).startswith(
        f"'{name}:make' cannot take images of 3x8x8 (channels x height x width): RuntimeError: "
    )


# The source


def test_the_source_of_a_factory_changes_with_its_file(write: Write, tmp_path: Path) -> None:
    name = write(LINEAR)
    model = Model(name=f"{name}:make")
    before = source_of(model)
    source.source_hash.cache_clear()
    assert source_of(model) == before
    (tmp_path / f"{name}.py").write_text((tmp_path / f"{name}.py").read_text() + "\n# edited\n")
    source.source_hash.cache_clear()
    assert source_of(model) != before


def test_a_factory_without_source_is_refused() -> None:
    with pytest.raises(ModelError, match=r"a network's source must be a \.py file"):
        source_of(Model(name="math:sqrt"))
