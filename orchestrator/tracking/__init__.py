"""MLflow, the window on a sweep: fed from the result files, which stay the truth. The one room that knows
MLflow, and loads it inside functions only."""

from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Report, Tracker
from orchestrator.tracking.ui import serve
from orchestrator.tracking.where import TrackingError, uri_of

__all__ = ["Follower", "Report", "Tracker", "TrackingError", "serve", "uri_of"]
