"""The dashboard *Learning*: what the model knows, what it forgets, and what it learns from."""

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards.panels import GREEN, RED, YELLOW, Panel, board, choice, gauges, lines, number
from deploy.dashboards.queries import metric, quantile, rate

FORGOTTEN = ((None, GREEN), (0.05, YELLOW), (0.15, RED))
CHOSEN = 'label=~"$label"'

REHEARSE = (
    "rehearse more (`learner.replay_size`), keep more (`memory.capacity`), or learn more slowly "
    "(`learner.learning_rate`)"
)


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "learning",
        "Learning",
        "What the model knows, what it forgets, and what it learns from.",
        [
            ("At a glance", _glance()),
            ("What is served", _served()),
            ("What is kept", _kept()),
            ("What is learned", _learned()),
            ("What comes late", _late()),
        ],
        [choice("label", "Classes", metric("memory_samples"), what="Classes that the panels by class show.")],
    )


def _glance() -> Sequence[Panel]:
    return (
        number(
            "Prequential accuracy",
            "percentunit",
            (metric("prequential_accuracy"), "accuracy"),
            shows="Share of right predictions among the last `metrics.window` labelled events: each was predicted "
            "before its label was used.",
            wrong="compare it with its own past and with the drift marks. A fall at a mark is a changed world: wait "
            "for labels of it. A fall without one: look at *Forgetting* beside it.",
            steps=((None, RED), (0.5, YELLOW), (0.8, GREEN)),
            decimals=1,
        ),
        number(
            "Kappa",
            "short",
            (metric("prequential_kappa"), "kappa"),
            shows="Cohen's kappa of the same predictions: agreement beyond what guessing by frequency would reach. "
            "1 is perfect, 0 is a guess.",
            wrong="a high accuracy with a kappa near 0 means that one class makes up the stream. Let the memory "
            "balance the classes (`memory.policy`).",
            steps=((None, RED), (0.4, YELLOW), (0.7, GREEN)),
            decimals=2,
        ),
        number(
            "Forgetting",
            "percentunit",
            (metric("forgetting"), "forgetting"),
            shows="Mean over the classes of how far their probe accuracy is below its best so far. 0 is nothing "
            "forgotten.",
            wrong=f"find the class under *What is kept*, then {REHEARSE}.",
            steps=FORGOTTEN,
            decimals=1,
        ),
        number(
            "Calibration error",
            "percentunit",
            (metric("calibration_error"), "calibration error"),
            shows="Mean gap between a prediction's score and the share of right ones among such predictions.",
            wrong="do not act on scores alone until it has come down. It follows quick changes of the head: lower "
            "`learner.head_learning_rate`.",
            steps=((None, GREEN), (0.1, YELLOW), (0.2, RED)),
            decimals=1,
        ),
        number(
            "Known classes",
            "short",
            (metric("known_labels"), "classes"),
            shows="Classes that the model knows.",
            wrong="if it rises without end, a field with free text is read as the label: see `fields.label`, and bound "
            "it with `limits.labels`.",
        ),
        number(
            "Drifts in this time range",
            "short",
            (f"sum(increase({metric('drift_detections_total')}[$__range]))", "drifts"),
            shows="How often a detector called drift in the time range above.",
            wrong="open the dashboard *Drift* with the link at the top, and see which signal moved.",
            steps=((None, GREEN), (1, YELLOW)),
            decimals=0,
        ),
    )


def _served() -> Sequence[Panel]:
    return (
        lines(
            "Accuracy: served and on probes",
            "percentunit",
            [
                (metric("prequential_accuracy"), "prequential"),
                (f"avg({metric('probe_accuracy')})", "probes, mean of the classes"),
                (metric("prequential_kappa"), "kappa (0 to 1)"),
            ],
            shows="Prequential accuracy weighs classes as the stream does; the mean over the probes weighs each class "
            "alike, also those that do not come any more. The distance between the two is what the stream hides.",
            wrong=f"prequential falls and probes stay: the world changed, let labels come. Probes fall: the model "
            f"forgets, {REHEARSE}.",
            bounds=(0, 1),
        ),
        lines(
            "Prequential loss",
            "none",
            [(metric("prequential_loss"), "loss (nats)")],
            shows="Mean negative log-probability of the last labels. It moves before the accuracy does.",
            wrong="a loss that climbs while the accuracy holds is overconfidence: lower `learner.head_learning_rate`. "
            "Spikes: see *Skipped steps* on the dashboard *Operations*.",
        ),
        lines(
            "Accuracy by slice",
            "percentunit",
            [(metric("slice_accuracy"), "{{slice}} = {{value}}")],
            shows="Share of right predictions among the last labelled events, for each value of each of your slices "
            "(`fields.slices`).",
            wrong="one slice that lags behind has too few labels, or another vocabulary: look at its events with "
            "`streamlearn tail`, and label more of them.",
            bounds=(0, 1),
        ),
        lines(
            "Answered and abstained",
            "percentunit",
            [
                (metric("prequential_coverage"), "answered (coverage)"),
                (metric("prequential_answered_accuracy"), "accuracy of what was answered"),
                (metric("prequential_accuracy"), "accuracy of all"),
            ],
            shows="Among the last labelled events: the share that was answered, and the share of right predictions in "
            "it. What has a score below `serving.abstain_below` is not.",
            wrong="a low coverage with an accuracy of all that is high enough: lower `serving.abstain_below`. An "
            "accuracy of what was answered that is too low: raise it, and see *Calibration error*.",
            bounds=(0, 1),
        ),
        lines(
            "Novel events",
            "percentunit",
            [(f"{rate('novel_events_total')} / {rate('events_total')}", "novel")],
            shows="Share of all events that are unlike every known class. Where nothing new comes it is about "
            "`serving.novel_share` (2 %).",
            wrong="it stays far above that: something comes that no class covers. Read such events with `streamlearn "
            "tail`, and label some of them: a new class is known from its first labels.",
        ),
        lines(
            "Predictions by class",
            "eps",
            [(f"sum by (label) ({rate('predictions_total', CHOSEN)})", "{{label}}")],
            shows="What the model answers, a second. A series without a name: it abstained.",
            wrong="if one class swallows the others, see whether the labels say the same (*Samples in memory by "
            "class*); if not, start anew with `memory.policy` set to the balanced one.",
            stacked=True,
        ),
    )


def _kept() -> Sequence[Panel]:
    return (
        lines(
            "Forgetting and transfer",
            "percentunit",
            [
                (metric("forgetting"), "forgetting"),
                (metric("backward_transfer"), "backward transfer"),
                (metric("forward_transfer"), "forward transfer"),
            ],
            shows="Forgetting: best probe accuracy so far minus the last, mean of the classes. Backward transfer: last "
            "minus first; above 0, later learning helped earlier classes. Forward transfer: how well a class was "
            "answered at its first probes, above chance.",
            wrong=f"forgetting climbs: {REHEARSE}. Backward transfer stays below 0 although forgetting is low: the "
            "first probes were lucky, compare over a longer time range.",
            bounds=(None, None),
        ),
        lines(
            "Negative flips",
            "percentunit",
            [(metric("negative_flip_ratio"), "negative flips")],
            shows="Among the probes that were right at the evaluation before, the share that is wrong now: what users "
            "notice as a model that unlearned.",
            wrong="lower `learner.learning_rate`, raise `learner.batch_size` for steadier steps, or freeze the lower "
            "layers (`learner.freeze`).",
            width=6,
            steps=((None, GREEN), (0.05, YELLOW)),
        ),
        lines(
            "Calibration error over time",
            "percentunit",
            [(metric("calibration_error"), "calibration error")],
            shows="Expected calibration error of the last labelled predictions over time.",
            wrong="after a new class it rises and comes down again. If it stays up, lower "
            "`learner.head_learning_rate`.",
            width=6,
            steps=((None, GREEN), (0.1, YELLOW)),
        ),
        lines(
            "Probe accuracy by class",
            "percentunit",
            [(metric("probe_accuracy", CHOSEN), "{{label}}")],
            shows="Share of a class's probes that are answered right. Probes are labelled events that are never "
            "trained on.",
            wrong="a class that falls while others rise is mixed up with a newer one: see that both have samples in "
            "the memory, and that their labels mean different things.",
            bounds=(0, 1),
        ),
        lines(
            "Forgetting by class",
            "percentunit",
            [(metric("class_forgetting", CHOSEN), "{{label}}")],
            shows="How far a class's probe accuracy is below its own best.",
            wrong="a class that stopped coming is kept by rehearsal alone: raise `learner.replay_size`, and see that "
            "it still has samples under *Samples in memory by class*.",
            steps=((None, GREEN), (0.15, RED)),
        ),
        gauges(
            "Probes by class",
            "short",
            (f"sort_desc({metric('probe_samples', CHOSEN)})", "{{label}}"),
            shows="Labelled events that are kept out of training to measure with. A class with few of them has a "
            "coarse accuracy, and counts for *Forgetting* from 20 on.",
            wrong="too few: wait, or keep more of them (section `probes` of the configuration).",
        ),
        lines(
            "Classes without probes",
            "short",
            [(metric("labels_without_probes"), "classes")],
            shows="Classes that have no probes, since there is no room for more: what they forget is not measured.",
            wrong="raise `probes.capacity`, or lower `probes.per_label`, in a learner that begins anew.",
            steps=((None, GREEN), (1, YELLOW)),
        ),
        gauges(
            "Samples in memory by class",
            "short",
            (f"sort_desc({metric('memory_samples', CHOSEN)})", "{{label}}"),
            shows="What rehearsal can draw on.",
            wrong="a class with none is forgotten without a defence: raise `memory.capacity`, or balance the classes "
            "with `memory.policy`.",
        ),
    )


def _learned() -> Sequence[Panel]:
    return (
        lines(
            "Labels by outcome",
            "eps",
            [(f"sum by (outcome) ({rate('labels_total')})", "{{outcome}}")],
            shows="What became of the labels that came, a second: learned, kept as a probe, or let go.",
            wrong="`held_back`: `learner.max_steps` was reached, and learning has stopped. `expired` and `orphan`: see "
            "*What comes late*. Nothing at all: no labels come; see the events with `streamlearn tail`, and "
            "`fields.label`.",
            stacked=True,
        ),
        lines(
            "Samples learned",
            "eps",
            [(f"sum by (origin) ({rate('samples_learned_total')})", "{{origin}}")],
            shows="Samples that took part in optimizer steps, a second: new ones, and those rehearsed from the memory.",
            wrong="no rehearsal: the memory is empty, or `learner.replay_size` is 0. No new ones though labels come: "
            "see *Waiting samples*.",
            stacked=True,
        ),
        lines(
            "Fill of the memory",
            "percentunit",
            [(f"sum({metric('memory_samples')}) / sum({metric('memory_capacity_samples')})", "filled")],
            shows="Samples in the replay memory, as a share of what it holds at most. Full is normal: then each new "
            "sample replaces one.",
            wrong="full while classes still come: raise `memory.capacity`; see *Memory of samples* on the dashboard "
            "*Operations* for what it costs.",
            width=6,
            bounds=(0, 1),
        ),
        lines(
            "Waiting samples",
            "short",
            [(metric("waiting_samples"), "waiting")],
            shows="Labelled samples that wait for a full batch.",
            wrong="they wait at most `learner.max_wait_seconds`. A line that only climbs: the loop stands still, see "
            "the dashboard *Operations*.",
            width=6,
        ),
        lines(
            "Steps of the weights",
            "short",
            [(metric("learner_step"), "learning"), (metric("champion_step"), "served")],
            shows="Optimizer steps behind the weights that learn, and behind those that are served.",
            wrong="a flat line while labels come: see *Skipped steps* on the dashboard *Operations*, and "
            "`learner.max_steps`. A fall to 0: the learner began anew.",
            width=6,
        ),
        lines(
            "When classes came",
            "short",
            [(metric("known_labels"), "classes")],
            shows="When new classes came. Accuracy may dip at each step up, and should come back within some hundred "
            "labels.",
            wrong="if it does not come back, learn new classes faster: raise `learner.head_learning_rate`.",
            width=6,
        ),
    )


def _late() -> Sequence[Panel]:
    return (
        lines(
            "Events and labels that wait",
            "short",
            [
                (metric("pending_events"), "events, for their label"),
                (metric("early_labels"), "labels, for their event"),
            ],
            shows="Events whose label has not come yet, and labels whose event has not, where `kafka.topics.labels` is "
            "set.",
            wrong="events at `joiner.capacity`: the oldest leave without a label; raise it, or lower `joiner.ttl` if "
            "most never get one. Labels that only climb: their ids are not those of the events, see `fields.id`.",
        ),
        lines(
            "Delay of labels",
            "s",
            [(quantile(share, "label_delay_seconds"), f"{share * 100:g} %") for share in (0.5, 0.95)],
            shows="From an event's own time to that of its label, where the label came later.",
            wrong="near `joiner.ttl`: labels will come too late to be learned; raise it, and `joiner.capacity` with "
            "it.",
        ),
        lines(
            "Events without a label",
            "eps",
            [(f"sum by (bound) ({rate('expired_events_total')})", "{{bound}}")],
            shows="Events that left before their label came, a second, by the setting that bounded their wait.",
            wrong="`capacity`: raise `joiner.capacity`. `ttl`: as many as never get a label is normal; more, where "
            "*Labels by outcome* has `expired` ones: raise `joiner.ttl`.",
            width=6,
        ),
        lines(
            "Events that came again",
            "eps",
            [(rate("duplicate_events_total"), "duplicates")],
            shows="Events whose id had come before within `joiner.window`, a second. They are not predicted again.",
            wrong="a producer that tries again without idempotence, or ids that are not one for each event: see "
            "`fields.id`.",
            width=6,
        ),
    )
