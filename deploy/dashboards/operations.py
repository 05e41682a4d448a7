"""The dashboard *Operations*: whether the service keeps up, and where its time goes."""

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards.panels import BAD_ABOVE_ZERO, GREEN, RED, YELLOW, Panel, board, lines, number
from deploy.dashboards.queries import metric, quantile, rate

STATE = "`curl http://HOST:9464/healthz` and the log say where the loop stands"
QUANTILES = (0.5, 0.95, 0.99)
STEP = metric("learner_step")
WORK = rate("stage_duration_seconds_bucket", 'stage!="wait"')


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "operations",
        "Operations",
        "Whether the service keeps up, and where its time goes.",
        [
            ("At a glance", _glance()),
            ("Pace", _pace()),
            ("Time and steps", _time()),
            ("Records that went wrong", _wrong()),
        ],
    )


def _glance() -> Sequence[Panel]:
    return (
        number(
            "Events",
            "eps",
            (f"sum({rate('events_total')})", "events"),
            shows="Events taken from the topic, good or bad, a second.",
            wrong="none while the topic grows: look at *Lag by partition* and *Stalled partitions*, then "
            "`streamlearn doctor CONFIG`.",
            decimals=1,
        ),
        number(
            "Latency, 95 %",
            "s",
            (quantile(0.95, "prediction_latency_seconds"), "95 %"),
            shows="19 of 20 predictions are committed within this time of being polled.",
            wrong="see *Share of time by stage*: `predict` wants a faster device or a smaller `model.name`, `commit` a "
            "nearer broker.",
            steps=((None, GREEN), (0.5, YELLOW), (2, RED)),
        ),
        number(
            "Lag",
            "short",
            (f"sum({metric('consumer_lag_records')})", "records"),
            shows="Records that wait in the events topic.",
            wrong="if it grows, the learner is too slow for the stream: raise `serving.max_batch`, train less "
            "(`learner.steps_per_batch`, `learner.freeze`), or take a GPU (`model.device`).",
            steps=((None, GREEN), (1000, YELLOW), (10000, RED)),
        ),
        number(
            "Dead letters",
            "percentunit",
            (f"sum({rate('dead_letters_total')}) / sum({rate('events_total')})", "share"),
            shows="Share of the events that could not be taken.",
            wrong="see their reasons below, and the records with `streamlearn tail NAME.dead-letters "
            "--from-beginning`.",
            steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            decimals=2,
        ),
        number(
            "Stalled partitions",
            "short",
            (metric("stalled_partitions"), "stalled"),
            shows="Partitions that have records and give none. They are read anew by themselves after "
            "`limits.stalled_seconds`.",
            wrong="if one stays stalled, its broker is in trouble: `streamlearn doctor CONFIG`, then the broker's log.",
            steps=BAD_ABOVE_ZERO,
        ),
        number(
            "Model and its step",
            "short",
            (
                f"{STEP} * on (job, instance) group_left (name, task, strategy) {metric('model_info')}",
                "{{name}}, {{task}}, {{strategy}}",
            ),
            shows="Which model learns which task with which strategy, and how many steps it took.",
            wrong="another model than you meant: `streamlearn config show CONFIG` says where each value comes from.",
            named=True,
        ),
    )


def _pace() -> Sequence[Panel]:
    return (
        lines(
            "Events and predictions",
            "eps",
            [
                (f"sum({rate('events_total')})", "events"),
                (f"sum({rate('predictions_total')})", "predictions"),
            ],
            shows="What came in and what went out, a second. The difference are dead letters.",
            wrong="a gap between the two: see *Dead letters by reason*.",
        ),
        lines(
            "Lag by partition",
            "short",
            [(f"sum by (topic, partition) ({metric('consumer_lag_records')})", "{{topic}} {{partition}}")],
            shows="Records that wait, by partition.",
            wrong="all climb: the learner is too slow, see *Share of time by stage*. One climbs: its key is too "
            "frequent, or its partition stalls.",
        ),
        lines(
            "Latency of predictions",
            "s",
            [(quantile(share, "prediction_latency_seconds"), f"{share * 100:g} %") for share in QUANTILES],
            shows="From an event's poll to the commit of its prediction.",
            wrong="the 99 % line alone is high: training stands between two batches, lower `learner.batch_size` or "
            "`learner.steps_per_batch`. All are high: lower `serving.max_batch`, or take a faster device.",
        ),
        lines(
            "Age of events when predicted",
            "s",
            [(quantile(share, "event_age_seconds"), f"{share * 100:g} %") for share in QUANTILES],
            shows="From an event's own time (`fields.time`) to the commit of its prediction: what users feel.",
            wrong="high without lag: events come late to the topic, look at their producer. High with lag: the learner "
            "is behind. Hours: the clocks or the time zone of `fields.time` are wrong.",
        ),
    )


def _time() -> Sequence[Panel]:
    return (
        lines(
            "Share of time by stage",
            "percentunit",
            [(f"sum by (stage) ({rate('stage_duration_seconds_sum')})", "{{stage}}")],
            shows="Where each second of the loop goes. `wait` is waiting for records: what is left to use.",
            wrong="no `wait` left means no room: the largest stage is where to save. `learn` and `rehearse`: "
            "`learner.replay_size`, `learner.steps_per_batch`, `learner.freeze`. `predict` and `tokenize`: "
            "`model.device`. `probe` and `drift`: sections `probes` and `drift`.",
            width=16,
            stacked=True,
        ),
        lines(
            "Memory of samples",
            "bytes",
            [(metric("memory_bytes"), "replay memory")],
            shows="Bytes that the replay memory takes. It grows to its bound and no further.",
            wrong="too much for the machine: lower `memory.capacity`.",
            width=8,
        ),
        lines(
            "Duration of a stage, 95 %",
            "s",
            [
                (
                    f"histogram_quantile(0.95, sum by (le, stage) ({WORK}))",
                    "{{stage}}",
                )
            ],
            shows="How long each stage takes at its slowest, one turn in twenty.",
            wrong="a slow `commit` is the broker's disk or network. A slow `poll` or `read_ahead` is the network.",
        ),
        lines(
            "Optimizer steps",
            "ops",
            [(f"sum({rate('learner_steps_total')})", "steps")],
            shows="Steps of the learner, a second.",
            wrong="none while labels come: see *Skipped steps* and `learner.max_steps`.",
            width=6,
        ),
        lines(
            "Skipped steps",
            "short",
            [(f"sum(increase({metric('learner_steps_skipped_total')}[$__rate_interval]))", "skipped")],
            shows="Steps not taken because the loss or its gradient was not finite; the weights stayed as they were.",
            wrong="lower `learner.learning_rate`, or set `model.dtype` to float32. Many in a row: start anew.",
            width=6,
            bars=True,
        ),
    )


def _wrong() -> Sequence[Panel]:
    return (
        lines(
            "Dead letters by reason",
            "short",
            [(f"sum by (reason) (increase({metric('dead_letters_total')}[$__rate_interval]))", "{{reason}}")],
            shows="Events that could not be taken, by reason.",
            wrong="`invalid-json`, `encoding`, `schema`: mend the producer. `missing-input`, `label-type`: mend "
            "section `fields`. `too-large`: `limits.record_bytes`. `crashed`: the log has the error. The records stand "
            "in NAME.dead-letters: `streamlearn tail NAME.dead-letters --from-beginning`.",
            bars=True,
            stacked=True,
        ),
        lines(
            "Commits by outcome",
            "ops",
            [(f"sum by (outcome) ({rate('commits_total')})", "{{outcome}}")],
            shows="Micro-batches committed, a second, and those whose commit failed.",
            wrong=f"`failed`: the broker did not take it, and the batch comes again; `streamlearn doctor CONFIG`. None "
            f"at all while records wait: {STATE}.",
            width=6,
        ),
        lines(
            "Stalled partitions over time",
            "short",
            [(metric("stalled_partitions"), "stalled")],
            shows="Partitions that have records and give none.",
            wrong="peaks that go away by themselves are a broker that moved a leader. Longer: "
            "`streamlearn doctor CONFIG`.",
            width=6,
            steps=BAD_ABOVE_ZERO,
        ),
        lines(
            "Snapshots by outcome",
            "short",
            [(f"sum by (outcome) (increase({metric('snapshots_total')}[$__rate_interval]))", "{{outcome}}")],
            shows="Snapshots of the state that were written, and those that could not be.",
            wrong="`failed`: the log says why: no room, or no right at `snapshots.path`. Nothing is lost, and a "
            "restart takes longer.",
            bars=True,
        ),
        lines(
            "Recovery horizon",
            "s",
            [(metric("recovery_horizon_seconds"), "left")],
            shows="Time until an input topic may delete a record that a restart would have to learn again.",
            wrong="near 0: raise the topic's retention, or see why no snapshot is written.",
            width=6,
        ),
        lines(
            "Batches to learn again",
            "short",
            [(metric("batches_left_to_reapply"), "left")],
            shows="After a start: batches since the last snapshot that are still to be learned again.",
            wrong="predictions wait until it is 0. If that takes too long, lower `snapshots.every_seconds`.",
            width=6,
        ),
    )
