"""The dashboard *Drift*: which signal of the stream moved, when, and how near the others are."""

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue

from deploy.dashboards.panels import GREEN, RED, YELLOW, Panel, board, choice, gauges, lines, number
from deploy.dashboards.queries import metric

WATCHED = ('detector=~"$detector"', 'signal=~"$signal"')
STATISTIC, THRESHOLD = metric("drift_statistic", *WATCHED), metric("drift_threshold", *WATCHED)
DETECTIONS = metric("drift_detections_total", *WATCHED)
NEARNESS = f"max by (detector, signal) ({STATISTIC} / {THRESHOLD})"
NEAR = ((None, GREEN), (0.8, YELLOW), (1.0, RED))


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "drift",
        "Drift",
        "Which signal of the stream moved, when, and how near the others are.",
        [("At a glance", _glance()), ("When", _when()), ("Each signal", (_each(),))],
        [
            choice("detector", "Detectors", metric("drift_statistic"), what="Methods that watch the signals."),
            choice("signal", "Signals", metric("drift_statistic"), what="What is watched; set in section drift."),
        ],
    )


def _glance() -> Sequence[Panel]:
    return (
        number(
            "Drifts in this time range",
            "short",
            (f"sum(increase({DETECTIONS}[$__range]))", "drifts"),
            shows="How often a chosen detector called drift in the time range above.",
            wrong="many a day in one signal is a detector that is too quick: make it more careful, or switch the "
            "signal off (section `drift` of the configuration).",
            steps=((None, GREEN), (1, YELLOW)),
            decimals=0,
        ),
        number(
            "Nearest to its threshold",
            "percentunit",
            (f"max({STATISTIC} / {THRESHOLD})", "nearest"),
            shows="The highest statistic, as a share of its threshold: at 100 % drift is called.",
            wrong="find the signal beside it, and look at its panel below.",
            steps=NEAR,
            decimals=0,
        ),
        number(
            "Unknown tokens",
            "percentunit",
            (metric("unknown_token_ratio"), "unknown"),
            shows="Share of all tokens so far that the tokenizer does not know.",
            wrong="the model cannot read these texts: choose one of their language with `model.name`. The log warns "
            "above `limits.unknown_tokens`.",
            steps=((None, GREEN), (0.05, YELLOW), (0.2, RED)),
            decimals=2,
        ),
        gauges(
            "How near a call, by signal",
            "percentunit",
            (f"sort_desc({NEARNESS})", "{{signal}} ({{detector}})"),
            shows="How near each signal is to a call, now.",
            wrong="`embedding`, `unknown_tokens` and `novelty` near 100 % mean new texts; `label` and `confidence` "
            "mean other answers to like texts; `error` and `loss` mean that answers became wrong: those cost most.",
            height=4,
            steps=NEAR,
            highest=1,
        ),
    )


def _when() -> Sequence[Panel]:
    return (
        lines(
            "Statistic as share of its threshold",
            "percentunit",
            [(NEARNESS, "{{signal}} ({{detector}})")],
            shows="The same over time: which signal moved first tells what changed.",
            wrong="texts first (`embedding`, `novelty`), errors later: label some of the new events now. Errors "
            "without new texts: the labels changed their meaning, ask whoever gives them.",
            steps=((None, GREEN), (1.0, RED)),
        ),
        lines(
            "Detections",
            "short",
            [
                (
                    f"sum by (detector, signal) (increase({DETECTIONS}[$__rate_interval]))",
                    "{{signal}} ({{detector}})",
                )
            ],
            shows="When drift was called. The orange marks on every dashboard are these.",
            wrong="see `streamlearn tail` for the events of that time, and compare accuracy before and after below.",
            bars=True,
        ),
        lines(
            "What it did to the answers",
            "percentunit",
            [
                (metric("prequential_accuracy"), "prequential accuracy"),
                (f"avg({metric('probe_accuracy')})", "probes, mean of the classes"),
            ],
            shows="Accuracy with the drift marks upon it.",
            wrong="accuracy that does not come back after a mark lacks labels of the new kind: see *Labels by outcome* "
            "on the dashboard *Learning*.",
            bounds=(0, 1),
        ),
        lines(
            "Unknown tokens over time",
            "percentunit",
            [(metric("unknown_token_ratio"), "unknown")],
            shows="Share of all tokens so far that the tokenizer does not know. It is a mean since the start, and so "
            "moves slowly.",
            wrong="it climbs: a language or a character set came that `model.name` was not made for.",
        ),
    )


def _each() -> Panel:
    """One panel for each chosen signal, since their statistics have scales of their own."""
    panel = lines(
        "$signal",
        "short",
        [(STATISTIC, "statistic ({{detector}})"), (THRESHOLD, "threshold ({{detector}})")],
        shows="What the detector of this signal reads, and where it calls drift.",
        wrong="a statistic that rests just below its threshold for hours is a slow drift that was not called: take a "
        "more sensitive detector for this signal in section `drift`. One that jumps at every peak of traffic watches "
        "the time of day, not the world: widen its window.",
        width=8,
        bounds=(None, None),
    )
    panel.repeat("signal").repeat_direction("h").max_per_row(3)
    return panel.override_by_query(
        "B",
        [
            DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": RED}),
            DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]}),
            DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        ],
    )
