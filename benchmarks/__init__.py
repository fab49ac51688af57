"""Scripts that measure: `python benchmarks/NAME.py`, or `python -m benchmarks.NAME` from the repository's root."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # they import each other by name, as scripts do
