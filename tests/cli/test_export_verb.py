"""jackpot export on a finished sweep, and what it refuses."""

import base64

import numpy as np
import onnxruntime
import pytest
from command import jackpot

from orchestrator.api import load_ticket
from orchestrator.engine.data import load_data
from orchestrator.engine.files import read_sealed, write_sealed
from orchestrator.engine.ticket import write_ticket
from orchestrator.spec.data import Digits

TRIAL = "convnet_random_s70_seed0"


def test_a_program_that_is_right_where_the_trial_was(here, tmp_path):
    """From the pixels of the test images, in ONNX, without Jackpot's network or normalisation."""
    shown = jackpot("export", f"small/{TRIAL}", str(tmp_path / "t.onnx"), "--with-normalisation")
    assert shown.exit_code == 0
    size = (tmp_path / "t.onnx").stat().st_size
    assert shown.stdout == (
        f"{tmp_path}/t.onnx: onnx, {size / 1e6:.2f} MB, ticket of {TRIAL}\n"
        "takes uint8 pixels (N, 1, 8, 8), gives logits (N, 10)\n"
    )
    assert shown.stderr == ""
    test = load_data(Digits()).test
    images = np.ascontiguousarray(test.images[test.indices].transpose(0, 3, 1, 2))
    (logits,) = onnxruntime.InferenceSession(tmp_path / "t.onnx").run(None, {"images": images})
    result = read_sealed(here / f"sweeps/small/trials/{TRIAL}/result.json")
    packed = np.frombuffer(base64.b64decode(result["correct"]), np.uint8)
    correct = np.unpackbits(packed, count=len(images)).astype(bool)
    assert ((logits.argmax(1) == test.labels) == correct).all()


def test_a_trial_is_found_as_logs_finds_it(here, tmp_path):
    for i, trial in enumerate((TRIAL, f"small/{TRIAL}", f"sweeps/small/trials/{TRIAL}")):
        shown = jackpot("export", trial, str(tmp_path / f"{i}.safetensors"))
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.endswith(f"MB, ticket of {TRIAL}\n")
    contents = {(tmp_path / f"{i}.safetensors").read_bytes() for i in range(3)}
    assert len(contents) == 1
    wrong = jackpot("export", "convnet_random_s71_seed0", str(tmp_path / "t.onnx"))
    assert wrong.exit_code == 2
    assert "convnet_random_s71_seed0: no such trial" in wrong.stderr


def test_a_file_that_exists_is_kept_unless_forced(here, tmp_path):
    file = tmp_path / "t.safetensors"
    file.write_text("mine")
    refused = jackpot("export", TRIAL, str(file))
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert refused.stderr.startswith(f"{file}: exists already; name another file, or have it replaced with --force")
    assert jackpot("export", TRIAL, str(file), "--force").exit_code == 0
    assert file.stat().st_size > 90_000


ERROR = {"type": "ValueError", "message": "no such layer", "traceback": ""}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "failed", "error": ERROR}, "it is failed: ValueError: no such layer; `jackpot logs "),
        ({"status": "diverged", "error": {**ERROR, "type": "Diverged"}}, "it is diverged: Diverged: no such layer; "),
        ({"status": "blocked", "blocked_by": "stage abc"}, "it is blocked: blocked by stage abc; `jackpot logs "),
    ],
)
def test_a_trial_without_a_ticket_says_why(copied, tmp_path, changes, message):
    trial = copied / "trials" / TRIAL
    write_sealed(trial / "result.json", {**read_sealed(trial / "result.json"), **changes})
    (trial / "ticket.safetensors").unlink()
    shown = jackpot("export", str(trial), str(tmp_path / "t.onnx"))
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"{TRIAL}: has no ticket, {message}")


def test_a_trial_without_result_or_ticket(copied, tmp_path):
    trial, file = copied / "trials" / TRIAL, str(tmp_path / "t.onnx")
    content = bytearray((trial / "ticket.safetensors").read_bytes())
    content[-1] ^= 1
    (trial / "ticket.safetensors").write_bytes(content)
    shown = jackpot("export", str(trial), file)
    assert shown.exit_code == 2
    assert "ticket.safetensors: is damaged, its content does not match its checksum; " in shown.stderr
    (trial / "ticket.safetensors").unlink()
    shown = jackpot("export", str(trial), file)
    assert "ticket.safetensors: is gone; remove the result.json beside it and run the sweep again" in shown.stderr
    (trial / "result.json").unlink()
    shown = jackpot("export", str(trial), file)
    assert shown.exit_code == 2
    assert shown.stderr == f"{TRIAL}: has no result yet, so no ticket; `jackpot status {copied}` says how far it is\n"


def test_a_changed_source_is_warned_of(here, tmp_path):
    ticket = load_ticket(f"sweeps/small/trials/{TRIAL}")
    ticket.provenance["network_source"] = "0" * 64
    write_ticket(tmp_path / "ticket.safetensors", ticket)
    shown = jackpot("export", str(tmp_path / "ticket.safetensors"), str(tmp_path / "t.safetensors"))
    assert shown.exit_code == 0
    assert shown.stderr == (
        "warning: the source of 'convnet' has changed since the ticket was trained: its logits may be others\n"
    )
