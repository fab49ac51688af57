"""What every column of results.csv means: the one place that says so."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Type = Literal["text", "number", "integer", "JSON"]

BATCH = "{batch}"
"""Stands for a number of images in the name of a column that there is one of for each."""
RUNTIME = "{runtime}"
"""Stands for compact, compiled and onnxruntime, if `latency.runtimes` has them."""


class Column(NamedTuple):
    """One column, or one for each batch size of `latency.batches`, and each runtime of `latency.runtimes`."""

    name: str
    type: Type
    unit: str
    """Empty for what has none."""
    meaning: str


COLUMNS = (
    Column("trial", "text", "", "The trial's id: network, method, sparsity in percent, seed; its folder in trials/."),
    Column("status", "text", "",
           "done, diverged, dropped (stopped early by a search), failed, blocked, or missing (no result yet)."),
    Column("model", "text", "", "The network, with its options."),
    Column("method", "text", "", "The ticket type, as in the spec's `methods`."),
    Column("label", "text", "", "The method with the options that the spec writes and its sanity check."),
    Column("arm", "text", "", "The label without the sanity check."),
    Column("check", "text", "", "The sanity check that the ticket was put to; empty without one."),
    Column("search", "integer", "", "The proposal's number in a search of ratios; empty for other trials."),
    Column("options", "JSON", "", "All options of the method, defaults included."),
    Column("sparsity", "number", "fraction", "What was asked to be removed; 0 for the dense network."),
    Column("seed", "integer", "", "The seed of initialisation and batch order; the same for all methods."),
    Column("data", "text", "", "The data set."),
    Column("key", "text", "", "SHA-256 of all that the result depends on: spec, seed, source of the method, data."),
    Column("accuracy/test", "number", "fraction", "Test images classified rightly, once, after the last epoch."),
    Column("loss/test", "number", "nats", "Mean cross-entropy on the test images, at the same time."),
    Column("accuracy/val", "number", "fraction", "The same of the validation images; empty without any."),
    Column("loss/val", "number", "nats", "Mean cross-entropy on the validation images; empty without any."),
    Column("sparsity/global", "number", "fraction",
           "Weights of convolutions and linear maps that were removed, counted in the trained network."),
    Column("compression_ratio", "number", "times", "All parameters of the dense network over those left."),
    Column("macs", "number", "multiply-accumulates", "Of one image, if removed weights cost nothing."),
    Column("macs/dense", "number", "multiply-accumulates", "Of one image by the dense network."),
    Column("macs/speedup", "number", "times", "The theoretical speed-up: macs/dense over macs."),
    Column("cost/epochs", "number", "epochs", "Training of the whole chain to the trained ticket, as if it ran alone."),
    Column("cost/epochs_new", "number", "epochs", "Of these, what this trial trained itself."),
    Column("cost/train_seconds", "number", "seconds", "Time of training of the whole chain, as it was measured."),
    Column("cost/train_flops", "number", "FLOPs",
           "Forward and backward passes of the whole chain, if removed weights cost nothing."),
    Column("size/dense_mb", "number", "MB", "The ticket's file with every weight, zeros too (safetensors)."),
    Column("size/sparse_mb", "number", "MB", "Its file with the kept weights and where they stand."),
    Column("size/compressed_mb", "number", "MB", "The latter, compressed (zlib)."),
    Column("accuracy/before", "number", "fraction",
           "Test accuracy just before pruning; only of trials that prune in the middle of training."),
    Column(f"latency/ms/b{BATCH}", "number", "ms", "One forward pass of a batch, median; measured once a structure."),
    Column(f"latency/dense_ms/b{BATCH}", "number", "ms", "The dense network's, measured in turn with it."),
    Column(f"latency/speedup/b{BATCH}", "number", "times", "Measured: dense over this; 1 with masks alone."),
    Column(f"memory/peak_mb/b{BATCH}", "number", "MB", "Parameters, images and a forward pass, at its peak."),
    Column(f"latency/{RUNTIME}/ms/b{BATCH}", "number", "ms", "The same network's forward pass in another runtime."),
    Column(f"latency/{RUNTIME}/speedup/b{BATCH}", "number", "times",
           "Measured: the dense network in eager torch over this."),
    Column(f"latency/best/speedup/b{BATCH}", "number", "times",
           "The highest of the runtimes that are faster than dense beyond chance, else that of the network as it is; "
           "empty with one runtime."),
    Column(f"latency/best/runtime/b{BATCH}", "text", "", "Which runtime that is."),
    Column("collapsed", "text", "", "Layers that keep no weight, separated by spaces; empty for none."),
    Column("error", "text", "", "Type and message of what made the trial fail or diverge; empty for none."),
    Column("blocked_by", "text", "", "The trial whose failed stage this one needs; empty for none."),
    Column("started", "number", "seconds", "When the trial began, since 1970-01-01 UTC."),
    Column("ended", "number", "seconds", "When it ended, likewise."),
    Column("waited_seconds", "number", "seconds", "How long it waited for stages that others made."),
    Column("host", "text", "", "The name of the machine that it ran on."),
)  # fmt: skip


def describe() -> dict[str, Any]:
    """The columns as JSON: for programs that read results.csv. A name with {batch} stands for one column for each of
    the spec's `latency.batches`, one with {runtime} for one for each of `latency.runtimes` but dense."""
    from orchestrator.engine.folder import SCHEMA

    return {
        "file": "results.csv",
        "schema": SCHEMA,
        "rows": "one a planned trial, by id; numbers of a trial without them are empty",
        "columns": [column._asdict() for column in COLUMNS],
    }
