"""MLflow, the window on a sweep: fed from the result files, which stay the truth. The one room that knows
MLflow, and loads it inside functions only."""

from orchestrator.tracking.client import see
from orchestrator.tracking.comparison import Asked, Comparison, comparison
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Report, Tracker
from orchestrator.tracking.ui import is_loopback, serve
from orchestrator.tracking.where import TrackingError, is_server, uri_of

__all__ = [
    "Asked", "Comparison", "Follower", "Report", "Tracker", "TrackingError", "comparison", "is_loopback", "is_server",
    "see", "serve", "uri_of",
]  # fmt: skip
