"""A verdict follows from the views by a rule that can be checked by hand, and p-values are those of the literature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from inference_code.verdicts import Rule, Seen, bonferroni, check_rule, fisher, p_value
from training_code.foundation.errors import InputError
from training_code.records.scores import CalibrationScores

GOOD, BAD, UNREAD = Seen("g", False, 0.2, 0.6), Seen("b", True, 0.8, 0.01), Seen("u", None)
MISSING = ("side",)


@pytest.mark.parametrize(
    ("rule", "seen", "missing", "verdict"),
    [
        ("any", [GOOD, GOOD], (), "good"),
        ("any", [GOOD, BAD], (), "bad"),
        ("any", [GOOD, UNREAD], (), "unreadable"),
        ("any", [BAD, UNREAD], (), "bad"),
        ("any", [GOOD], MISSING, "incomplete"),
        ("any", [BAD], MISSING, "bad"),
        ("all", [BAD, BAD], (), "bad"),
        ("all", [GOOD, BAD], (), "good"),
        ("all", [BAD], MISSING, "incomplete"),
        ("all", [GOOD], MISSING, "good"),
        ("all", [BAD, UNREAD], (), "unreadable"),
        ("all", [GOOD, UNREAD], (), "good"),
        ("bonferroni", [GOOD, BAD], (), "bad"),
        ("bonferroni", [GOOD, GOOD], (), "good"),
        ("bonferroni", [BAD], MISSING, "bad"),
        ("bonferroni", [GOOD], MISSING, "incomplete"),
        ("fisher", [GOOD, BAD], (), "bad"),
        ("fisher", [GOOD, GOOD], (), "good"),
        ("fisher", [UNREAD, GOOD], (), "unreadable"),
    ],
)
def test_a_part_that_is_not_seen_as_a_whole_is_good_only_where_nothing_could_change_that(rule, seen, missing, verdict):
    found = Rule(rule).judge(seen, 2, missing)
    assert found.verdict == verdict
    assert found.score == max((one.score for one in seen if one.score is not None), default=None)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=6))
def test_fishers_p_value_is_scipys(p_values):
    expected = stats.combine_pvalues(p_values, "fisher").pvalue
    assert fisher(p_values, len(p_values)) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=4), st.integers(0, 3))
def test_views_that_were_not_seen_never_make_a_part_look_worse(p_values, unseen):
    whole = [*p_values, *[1.0] * unseen]
    for combined in (fisher, bonferroni):
        assert combined(p_values, len(whole)) == pytest.approx(combined(whole, len(whole)))


def test_good_parts_have_p_values_as_promised():
    generator = np.random.default_rng(0)
    groups = tuple(np.repeat(np.arange(99), 2))
    refused = []
    for _ in range(400):
        scores = generator.normal(size=(100, 2))
        calibration = CalibrationScores(groups, scores[:99].ravel(), np.zeros(198), np.zeros(198))
        refused.append(p_value(scores[99].max(), calibration) <= 0.1)
    assert 0.06 < np.mean(refused) < 0.14, "a part is as rare as its view with the highest score"


def test_rules_and_levels_that_there_are_not_are_told():
    with pytest.raises(InputError, match="rule 'most' is unknown; valid: any, all, bonferroni, fisher"):
        check_rule("most", 0.05)
    with pytest.raises(InputError, match="alpha=1.0 is out of range"):
        check_rule("fisher", 1.0)
