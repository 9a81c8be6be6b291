from __future__ import annotations

import pytest
from scipy.stats import beta
from weaksvr.export.limits import DEFAULT_LIMITS, flip_rate_bound, overridden
from weaksvr.runtime.errors import OptionError


@pytest.mark.parametrize(
    ("flips", "pairs"), [(0, 1), (0, 312), (0, 10_000), (1, 2), (1, 1000), (7, 7140), (12, 10_000), (400, 1000)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_the_bound_is_clopper_and_pearsons(flips, pairs, confidence):
    wanted = beta.ppf(confidence, flips + 1, pairs - flips)
    assert flip_rate_bound(flips, pairs, confidence=confidence) == pytest.approx(wanted, rel=1e-9)


def test_where_all_flip_nothing_is_excluded():
    assert flip_rate_bound(5, 5) == 1.0


def test_limits_are_changed_one_by_one():
    assert overridden([]) == dict(DEFAULT_LIMITS)
    found = overridden(["int8.flips=0.002", "int8.tie = 1e-2", "fp32.auc=0"])
    assert (found["int8"].flips, found["int8"].tie, found["int8"].auc) == (0.002, 0.01, DEFAULT_LIMITS["int8"].auc)
    assert found["fp32"].auc == 0
    assert found["fp16"] == DEFAULT_LIMITS["fp16"]
    assert DEFAULT_LIMITS["int8"].flips == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int8.flips", r"'int8\.flips' must be such as int8\.flips=0\.002, for one of fp32, fp16, int8"),
        ("int4.flips=1", "for one of fp32, fp16, int8"),
        ("int8.flips=few", "must be such as"),
        ("int8.flips=nan", "must be such as"),
        ("int8.turns=1", "limit 'turns' is not known; use one of difference, cosine, flips, auc, tie"),
        ("int8.flips=-1", "limit flips is -1.0, but must be a finite number of at least 0"),
        ("int8.flips=inf", "limit flips is inf"),
    ],
)
def test_limits_that_cannot_be_meant(text, message):
    with pytest.raises(OptionError, match=message):
        overridden([text])
