"""Tickets as files for other programs: safetensors, ONNX and torch.export."""

from orchestrator.engine.export.trial import SUFFIXES, Exported, ExportError, export_ticket, export_trial

__all__ = ["SUFFIXES", "ExportError", "Exported", "export_ticket", "export_trial"]
