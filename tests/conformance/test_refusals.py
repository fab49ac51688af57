"""What a method says, before anything runs, of a network that it cannot serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conformance_table import REFUSED, sections

from orchestrator.engine.plan import make_plan
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError


@pytest.mark.parametrize(("method", "net"), REFUSED)
def test_a_network_that_a_method_cannot_serve_is_refused(make_spec: Callable[..., Spec], method: str, net: str) -> None:
    with pytest.raises(SpecError, match=REFUSED[method, net]):
        make_plan(make_spec(**sections(method, net)))
