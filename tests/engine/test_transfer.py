"""A ticket found on one data set, trained on another: from a trial's folder or an exported file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from trial_runs import only, run_all

from orchestrator.api import export, load_ticket
from orchestrator.engine.check import check
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.spec import load
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]
ELSEWHERE = {"name": "fake", "shape": [1, 8, 8], "classes": 5, "train": 512, "test": 128}
MODEL = {"name": "resnet8", "width": 0.5}


@pytest.fixture
def found(make_spec: MakeSpec, tmp_path: Path) -> Path:
    """The folder of a lottery ticket's trial on digits."""
    spec = make_spec(methods=[{"name": "lottery", "fraction": 0.6}], sparsities=[0.8], model=MODEL)
    folder = SweepFolder(tmp_path / "found")
    return folder.trial(only(run_all(folder, spec))["trial"])


def _transferred(make_spec: MakeSpec, folder: Path, **options: Any) -> tuple[dict[str, Any], Any]:
    spec = make_spec(methods=[{"name": "transfer", **options}], data=ELSEWHERE, model=MODEL, sparsities=[])
    sweep = SweepFolder(folder)
    result = only(run_all(sweep, spec))
    assert result["status"] == "done", result["error"]
    return result, load_ticket(sweep.trial(result["trial"]))


def test_all_but_the_classifier_is_the_tickets(make_spec: MakeSpec, found: Path, tmp_path: Path) -> None:
    result, moved = _transferred(make_spec, tmp_path / "moved", ticket=str(found))
    ticket = load_ticket(found)
    assert result["trial"].endswith("_s80_seed0"), "at the ticket's own sparsity"
    for name, mask in ticket.masks.items():
        if name == "fc":
            assert moved.masks["fc"].shape == (5, 32)
            assert moved.masks["fc"].all()
        else:
            assert torch.equal(moved.masks[name], mask)
            assert torch.equal(moved.start[f"{name}.weight"], ticket.start[f"{name}.weight"])
            assert not moved.weights[f"{name}.weight"][~mask].any()
    kept = sum(int(mask.sum()) for mask in moved.masks.values())
    total = sum(mask.numel() for mask in moved.masks.values())
    assert result["metrics"]["sparsity/global"] == pytest.approx(1 - kept / total)


@pytest.mark.parametrize("form", ["contiguous", "channels_last"])
def test_an_exported_file_in_either_memory_format(make_spec: MakeSpec, found: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "ticket.safetensors"
    export(found, path)
    if form == "channels_last":  # written by another program, from a network in that format
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        turned = {n: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for n, v in tensors.items()}
        save_file({name: value.contiguous() for name, value in turned.items()}, path, metadata)
    _, moved = _transferred(make_spec, tmp_path / "moved", ticket=str(path), weights="trained")
    _, same = _transferred(make_spec, tmp_path / "same", ticket=str(found), weights="trained")
    assert all(torch.equal(moved.weights[name], same.weights[name]) for name in same.weights)


def test_a_smaller_network_is_transferred(make_spec: MakeSpec, plugin: Callable[[str], str], tmp_path: Path) -> None:
    text = """
        def without(bench, weights):
            return {name: value for name, value in weights.items() if not name.startswith("stage1.0.")}

        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.compute(without, bench.initialise()), bench.dense_masks())
    """
    folder = SweepFolder(tmp_path / "found")
    result = only(run_all(folder, make_spec(methods=[plugin(text)], model=MODEL)))
    _, moved = _transferred(make_spec, tmp_path / "moved", ticket=str(folder.trial(result["trial"])))
    assert not [name for name in moved.weights if name.startswith("stage1.0.")]
    assert moved.weights["fc.weight"].shape == (5, 32)


def test_what_is_no_ticket_is_said_at_validation(found: Path, tmp_path: Path) -> None:
    export(found, tmp_path / "exported.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    for options, message in (
        ("ticket: none", "none cannot be read"),
        (f"ticket: {tmp_path / 'other.safetensors'}", "is no ticket"),
        (f"ticket: {tmp_path / 'exported.safetensors'}", "holds the trained weights alone; set `weights: trained`"),
    ):
        path = tmp_path / "spec.yaml"
        path.write_text(
            f"name: x\ndata: digits\nmodel: resnet8\nrecipe: {{epochs: 1}}\nmethods: [{{name: transfer, {options}}}]\n"
        )
        (problem,) = check(load(path))
        assert problem.path == ("methods", 0)
        assert message in problem.message


def test_images_of_other_colours_are_refused(make_spec: MakeSpec, found: Path) -> None:
    spec = make_spec(
        methods=[{"name": "transfer", "ticket": str(found)}], data={**ELSEWHERE, "shape": [3, 8, 8]}, model=MODEL
    )
    with pytest.raises(SpecError, match="takes images of 1 channels, and these have 3"):
        make_plan(spec)


def test_another_network_is_refused(make_spec: MakeSpec, found: Path) -> None:
    spec = make_spec(methods=[{"name": "transfer", "ticket": str(found)}], data=ELSEWHERE)
    with pytest.raises(SpecError, match=r"is of another network \(resnet8; layer 'conv' of shape \(8, 1, 3, 3\)\)"):
        make_plan(spec)
