"""A masked network made smaller: the channels that its zeros have emptied removed, its outputs the same."""

from orchestrator.engine.compact.compacting import Compact, compacted, flattened
from orchestrator.engine.compact.draft import in_channels_last
from orchestrator.engine.compact.errors import CompactError

__all__ = ["Compact", "CompactError", "compacted", "flattened", "in_channels_last"]
