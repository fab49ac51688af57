"""A ticket of each granularity in each format, run by programs without Jackpot: README's own scripts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import plain_nets
import pytest
import torch
from safetensors import safe_open
from tickets import GRANULARITIES, dense, masked, normalised, pixels, ticket
from torch import nn

from orchestrator import export
from orchestrator.engine.export import ExportError, export_ticket
from orchestrator.engine.export.program import trace
from orchestrator.engine.nets import source_of
from orchestrator.engine.ticket import LoadedTicket, TicketError, write_ticket
from orchestrator.spec.models import Model

README = Path(__file__).parents[2] / "README.md"
WITHOUT_JACKPOT = """
import importlib.util, runpy, sys
sys.path += sys.argv[1:3]  # the packages, without what an editable install adds to the path; this folder
for package in ("orchestrator", "methods", "search_spaces"):
    assert importlib.util.find_spec(package) is None, package
for script in sys.argv[3:]:
    found = runpy.run_path(script)
    if "logits" in found:
        found["np"].save(script + ".npy", found["np"].asarray(found["logits"]))
    else:
        import numpy as np
        import torch
        (given,) = torch.load("normalised.pt")
        with torch.no_grad():
            np.save(script + ".npy", found["net"](given).numpy())
"""


@pytest.fixture
def by_hand() -> LoadedTicket:
    weights, masks, _ = masked()
    return ticket(weights, masks, network_source=source_of(Model(name="plain_nets:make")))


def readme_scripts() -> dict[str, str]:
    """The scripts of README that load ticket.onnx, ticket.pt2 and ticket.safetensors."""
    scripts = re.findall(r"^    import json\n(?:(?:    .*)?\n)+", README.read_text(), re.MULTILINE)
    found = {re.findall(r"ticket\.(\w+)", script)[0]: textwrap.dedent(script) for script in scripts}
    assert sorted(found) == ["onnx", "pt2", "safetensors"]
    return found


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_plain_scripts_give_the_tickets_logits(granularity: str, tmp_path: Path) -> None:
    weights, masks, net = GRANULARITIES[granularity]()
    made = ticket(weights, masks, network_source=source_of(Model(name="plain_nets:make")))
    write_ticket(tmp_path / "trial.safetensors", made)
    images = pixels()
    with torch.no_grad():
        wanted = net(normalised(images)).numpy()
    for suffix in ("onnx", "pt2", "safetensors"):
        export(
            tmp_path / "trial.safetensors",
            tmp_path / f"ticket.{suffix}",
            with_normalisation=suffix == "pt2",
            allow_code=True,
        )
    np.save(tmp_path / "images.npy", images)
    torch.save([normalised(images)], tmp_path / "normalised.pt")
    shutil.copy(plain_nets.__file__, tmp_path / "mynets.py")
    for suffix, script in readme_scripts().items():
        (tmp_path / f"{suffix}.py").write_text(script)
    (tmp_path / "runner.py").write_text(WITHOUT_JACKPOT)
    packages = sysconfig.get_path("purelib")
    scripts = [f"{suffix}.py" for suffix in readme_scripts()]
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "runner.py", packages, str(tmp_path), *scripts],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "digit " in ran.stdout
    assert "by_hand" in ran.stdout
    for script in scripts:
        np.testing.assert_allclose(np.load(tmp_path / f"{script}.npy"), wanted, rtol=0, atol=1e-5, err_msg=script)
    assert np.ptp(wanted, axis=0).min() > 1e-2, "logits that do not depend on the images prove nothing"


def test_the_file_of_weights(by_hand: LoadedTicket, tmp_path: Path) -> None:
    made = export_ticket(by_hand, tmp_path / "t.safetensors", "safetensors")
    with safe_open(made.path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert set(tensors) == set(by_hand.weights) | {f"mask/{layer}" for layer in by_hand.masks}
    for layer, mask in by_hand.masks.items():
        assert torch.equal(tensors[f"mask/{layer}"], mask)
        removed = tensors[f"{layer}.weight"][~mask]
        assert len(removed)
        assert not removed.view(torch.int32).any(), "exactly zero, not minus zero"
        assert torch.equal(tensors[f"{layer}.weight"][mask], by_hand.weights[f"{layer}.weight"][mask])
    assert json.loads(metadata["provenance"]) == by_hand.provenance
    structure = json.loads(metadata["structure"])
    assert structure["network"] == {"name": "plain_nets:make"}
    assert structure["identity"] == []
    assert (structure["input"]["mean"], structure["input"]["std"]) == ([0.3], [0.4])
    layers = {layer["name"]: layer for layer in structure["layers"]}
    assert (layers["blocks.0.conv1"]["kind"], layers["blocks.0.conv1"]["shape"]) == ("Conv2d", [12, 6, 3, 3])
    assert "padding=(1, 1)" in layers["blocks.0.conv1"]["config"]
    assert list(layers) == [
        "stem", *(f"blocks.{i}.{name}" for i in (0, 1) for name in ("conv1", "bn1", "conv2", "bn2")), "fc",
    ]  # fmt: skip
    assert "input" in by_hand.structure
    assert "dtype" not in by_hand.structure["input"], "the ticket itself is as it was"


def test_structure_says_what_is_gone(tmp_path: Path) -> None:
    source = source_of(Model(name="plain_nets:make"))
    found = {}
    for granularity in ("filter", "layer"):
        weights, masks, _ = GRANULARITIES[granularity]()
        made = export_ticket(
            ticket(weights, masks, network_source=source), tmp_path / f"{granularity}.safetensors", "safetensors"
        )
        with safe_open(made.path, "pt") as file:
            found[granularity] = json.loads(file.metadata()["structure"])
    assert found["layer"]["identity"] == ["blocks.1"]
    assert {"name": "blocks.1", "kind": "Identity", "shape": None, "config": ""} in found["layer"]["layers"]
    layers = {layer["name"]: layer for layer in found["filter"]["layers"]}
    assert layers["blocks.0.conv1"]["shape"] == [9, 6, 3, 3]
    assert layers["blocks.0.conv2"]["config"].startswith("9, 6, ")


def test_programs_say_what_they_take(by_hand: LoadedTicket, tmp_path: Path) -> None:
    images = pixels(1)  # one image, though programs are traced on two
    with torch.no_grad():
        wanted = by_hand.network()(normalised(images)).numpy()
    made = export_ticket(by_hand, tmp_path / "t.onnx", "onnx", with_normalisation=True)
    session = onnxruntime.InferenceSession(made.path)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 1, 8, 8])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], wanted, rtol=0, atol=1e-5)
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["structure"])["input"]["dtype"] == "uint8"
    assert json.loads(texts["provenance"]) == by_hand.provenance

    made = export_ticket(by_hand, tmp_path / "t.pt2", "pt2")
    about = {"structure.json": "", "provenance.json": ""}
    program = torch.export.load(made.path, extra_files=about).module()
    np.testing.assert_allclose(program(normalised(images)).detach().numpy(), wanted, rtol=0, atol=1e-5)
    assert json.loads(about["structure.json"])["input"]["dtype"] == "float32"
    assert json.loads(about["provenance.json"]) == by_hand.provenance
    here = str(Path(__file__).parents[2]).encode()
    assert not [path for path in (tmp_path / "t.onnx", tmp_path / "t.pt2") if here in path.read_bytes()]


class _Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class _Two(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 64)


class _Drawing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.flatten(1), 0.5)


@pytest.mark.parametrize("net", [_Branching(), _Two(), _Drawing()], ids=lambda net: type(net).__name__)
def test_what_cannot_be_traced_is_refused(net: nn.Module, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(ExportError, match=rf"^{type(net).__name__}: torch.export cannot .*; or export it as .safetens"):
        trace(net, (1, 8, 8), torch.float32)
    assert capfd.readouterr() == ("", "")


# What is wrong is said before anything is written


def test_bad_requests(by_hand: LoadedTicket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, there = tmp_path / "trial.safetensors", tmp_path / "there.onnx"
    write_ticket(source, by_hand)
    there.write_text("mine")

    def refused(message: str, file: Path, **options: object) -> None:
        with pytest.raises(ExportError, match=message):
            export(source, file, allow_code=True, **options)

    refused(r"t.pth: unknown suffix '.pth'; expected .safetensors, .onnx, .pt2, or name the", tmp_path / "t.pth")
    refused(r"t: has no suffix; expected", tmp_path / "t")
    refused(r"unknown format 'tflite'; expected safetensors, onnx, pt2", tmp_path / "t", format="tflite")
    refused(r"there is no folder .*nowhere; make it first", tmp_path / "nowhere" / "t.onnx")
    refused(r"there.onnx: exists already; name another file, or .* --force", there)
    refused(r"trial.safetensors: is the trial's own ticket", source, force=True)
    refused(r": is a folder; name a file in it", tmp_path, format="onnx")
    refused(r"holds no program that could normalise", tmp_path / "t.safetensors", with_normalisation=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    refused(r"the folder .* cannot be written to", tmp_path / "t.onnx")
    monkeypatch.undo()

    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(r"t.safetensors: cannot be written \(No space left on device\)", tmp_path / "t.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.onnx", "trial.safetensors"]
    assert there.read_text() == "mine"


def test_force_and_format(by_hand: LoadedTicket, tmp_path: Path) -> None:
    write_ticket(tmp_path / "trial.safetensors", by_hand)
    (tmp_path / "given.bin").write_text("mine")
    made = export(
        tmp_path / "trial.safetensors", tmp_path / "given.bin", format="safetensors", force=True, allow_code=True
    )
    with safe_open(made, "pt") as file:
        assert json.loads(file.metadata()["provenance"])["trial"] == "by_hand"


def test_a_network_that_is_not_here_or_has_changed(by_hand: LoadedTicket, tmp_path: Path) -> None:
    away = ticket(by_hand.weights, by_hand.masks)
    away.structure["network"]["name"] = "nets_of_mine:make"
    with pytest.raises(TicketError, match="no module 'nets_of_mine' is installed or in the current folder"):
        export_ticket(away, tmp_path / "t.safetensors", "safetensors")
    changed = ticket(by_hand.weights, by_hand.masks, network_source="0" * 64)
    with pytest.warns(UserWarning, match="source of 'plain_nets:make' has changed since the ticket was trained"):
        export_ticket(changed, tmp_path / "t.safetensors", "safetensors")
    wrong = ticket({**dense().state_dict(), "extra.weight": torch.zeros(2)}, {})
    wrong.provenance["network_source"] = by_hand.provenance["network_source"]
    with pytest.raises(TicketError, match=r"do not fit the network: .*extra\.weight"):
        export_ticket(wrong, tmp_path / "u.safetensors", "safetensors")
    unfit = ticket(by_hand.weights, {"fc": torch.ones(3, 3, dtype=torch.bool)})
    with pytest.raises(TicketError, match=r"the mask of layer 'fc' \(3, 3\) does not fit"):
        export_ticket(unfit, tmp_path / "u.safetensors", "safetensors")
    assert not (tmp_path / "u.safetensors").exists()
