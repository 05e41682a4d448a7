"""The definition that `Probes` is compared with gives what was computed by hand."""

import math

import pytest

from streamlearn.evaluation.cohorts import Result
from tests.evaluation.offline import offline


def test_offline_by_hand():
    right = [4, 4, 4, 4, 2, 0, 4]  # five-evaluation means 18/20, 14/20, 14/20
    results = [Result("a", 0, n, correct, 4) for n, correct in enumerate(right)]
    results += [Result("a", 1, -1, 0, 4), Result("b", 0, 0, 1, 4)]  # being collected; too few evaluations
    found = offline(reversed(results))
    assert found.class_forgetting == pytest.approx({"a": 0.2})
    assert found.forgetting == pytest.approx(0.2)
    assert found.backward_transfer == pytest.approx(-0.2)
    assert offline(results, {"a": {0: 19}}).class_forgetting == {}  # fewer than 20 probes are left of it
    assert math.isnan(offline([]).forgetting)


def test_offline_misses_no_result():
    with pytest.raises(AssertionError, match="missing"):
        offline([Result("a", 0, 0, 1, 4), Result("a", 0, 2, 1, 4)])
