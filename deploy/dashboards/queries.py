"""PromQL over the exporter's catalogue: a metric that nobody exports cannot be asked for."""

from streamlearn.observability.catalogue import CATALOGUE, HISTOGRAMS

SELECTED = ('job=~"$job"', 'instance=~"$instance"')

LABELS: dict[str, tuple[str, ...]] = {
    **{f"{entry.name}_total" if entry.kind == "counter" else entry.name: entry.labels for entry in CATALOGUE},
    **{f"{each.name}_{part}": each.labels for each in HISTOGRAMS for part in ("bucket", "sum", "count")},
}


def metric(name: str, *matchers: str) -> str:
    """Return the selector of a metric, in the job and the instance that the dashboard shows.

    Args:
        name: without the prefix, with `_total` or `_bucket` where the kind has one.
        matchers: such as `outcome="failed"`.

    Raises:
        ValueError: no such metric in the catalogue, or it has no such label.
    """
    if name not in LABELS:
        raise ValueError(f"a dashboard asks for {name}, which the exporter's catalogue does not have")
    for matcher in matchers:
        label = matcher.partition("=")[0].rstrip("!~")
        if label not in LABELS[name]:
            raise ValueError(f"a dashboard asks for {name} by {label}, and its labels are {LABELS[name]}")
    return f"streamlearn_{name}{{{', '.join((*SELECTED, *matchers))}}}"


def rate(name: str, *matchers: str) -> str:
    """Return how fast a counter rises, a second."""
    return f"rate({metric(name, *matchers)}[$__rate_interval])"


def quantile(share: float, name: str) -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({share}, sum by (le) ({rate(f'{name}_bucket')}))"
