"""What the three dashboards share: their look, their variables, and the panels that they are made of.

Every panel says what it shows, and what to do when it looks wrong.
"""

from collections.abc import Iterable, Sequence

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.dashboards.queries import SELECTED, metric

Panel = timeseries.Panel | stat.Panel | bargauge.Panel
Query = tuple[str, str]  # PromQL, and what its series are called
Steps = Sequence[tuple[float | None, str]]  # from which value on, which colour

WIDTH = 24
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
ALL = VariableOption(text=["All"], value=["$__all"])

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
PLAIN: Steps = ((None, BLUE),)
BAD_ABOVE_ZERO: Steps = ((None, GREEN), (1, RED))


def lines(
    title: str,
    unit: str,
    queries: Sequence[Query],
    *,
    shows: str,
    wrong: str,
    width: int = 12,
    stacked: bool = False,
    bars: bool = False,
    bounds: tuple[float | None, float | None] = (0, None),
    steps: Steps | None = None,
) -> timeseries.Panel:
    """Return a panel of lines over time, or of bars.

    Args:
        title: stands above it.
        unit: Grafana's name of the values' unit.
        queries: what is drawn.
        shows: what it shows.
        wrong: what to do when it looks wrong.
        width: of 24 columns.
        stacked: whether the series add up.
        bars: for what happens now and then.
        bounds: lowest and highest value of the axis; None: as the data has it.
        steps: coloured areas behind the lines.
    """
    panel = timeseries.Panel().height(8)
    _describe(panel, title, unit, queries, shows=shows, wrong=wrong, width=width)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "min", "max"])
    )
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    panel.line_width(2).show_points(VisibilityMode.AUTO).fill_opacity(30 if stacked else 5)
    if bars:
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(70).line_width(1)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    lowest, highest = bounds
    if lowest is not None:
        panel.min(lowest)
    if highest is not None:
        panel.max(highest)
    if steps is not None:
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))


def number(
    title: str,
    unit: str,
    query: Query,
    *,
    shows: str,
    wrong: str,
    width: int = 4,
    steps: Steps = PLAIN,
    decimals: int | None = None,
    named: bool = False,
) -> stat.Panel:
    """Return a panel with one figure, and its past behind it. `named` shows the series' name too; else as `lines`."""
    panel = stat.Panel().height(4)
    _describe(panel, title, unit, [query], shows=shows, wrong=wrong, width=width)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
    panel.text_mode(BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.VALUE)
    if decimals is not None:
        panel.decimals(decimals)
    return panel.thresholds(_thresholds(steps)).color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))


def gauges(
    title: str,
    unit: str,
    query: Query,
    *,
    shows: str,
    wrong: str,
    width: int = 12,
    height: int = 8,
    steps: Steps = PLAIN,
    highest: float | None = None,
) -> bargauge.Panel:
    """Return a panel with one bar for each series, as they stand now; arguments as `lines`."""
    panel = bargauge.Panel().height(height)
    _describe(panel, title, unit, [query], shows=shows, wrong=wrong, width=width, instant=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.display_mode(BarGaugeDisplayMode.BASIC).orientation(VizOrientation.HORIZONTAL).min(0)
    if highest is not None:
        panel.max(highest)
    return panel.thresholds(_thresholds(steps)).color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))


def _describe(
    panel: Panel,
    title: str,
    unit: str,
    queries: Iterable[Query],
    *,
    shows: str,
    wrong: str,
    width: int,
    instant: bool = False,
) -> None:
    panel.title(title).unit(unit).span(width).datasource(SOURCE)
    panel.description(f"{shows}\n\n**When it looks wrong:** {wrong}")
    for letter, (expr, legend) in zip("ABCDEF", queries, strict=False):
        target = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(letter).datasource(SOURCE)
        panel.with_target(target.instant() if instant else target.range())


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    levels = [Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels)


def choice(name: str, title: str, of: str, *, several: bool = True, what: str) -> dashboard.QueryVariable:
    """Return a variable whose values are those of a label of a metric.

    Args:
        name: `$name` in queries, and the label.
        title: what users see.
        of: the selector whose series have the label.
        several: whether more than one may be chosen; then all are, at first.
        what: a line of help.
    """
    variable = (
        dashboard.QueryVariable(name)
        .label(title)
        .description(what)
        .datasource(SOURCE)
        .query({"query": f"label_values({of}, {name})", "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    return variable.all_value(".*").current(ALL) if several else variable


def board(
    name: str,
    title: str,
    what: str,
    rows: Iterable[tuple[str, Sequence[Panel]]],
    variables: Sequence[dashboard.QueryVariable] = (),
) -> Dashboard:
    """Return a dashboard.

    Args:
        name: the end of its fixed uid.
        title: what users see.
        what: its purpose.
        rows: panels under a heading; those of a row that do not fit beside each other stand below.
        variables: those of its own; data source, job and instance come first on each.
    """
    built = (
        dashboard.Dashboard(f"streamlearn / {title}")
        .uid(f"streamlearn-{name}")
        .description(what)
        .tags(["streamlearn"])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("streamlearn")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["streamlearn"])
            .tooltip("The other dashboards of streamlearn")
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(_drifts())
        .variables(
            [
                dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
                choice("job", "Job", "streamlearn_learner_step", what="Jobs of Prometheus that scrape a learner."),
                choice(
                    "instance",
                    "Learner",
                    f"streamlearn_learner_step{{{SELECTED[0]}}}",
                    several=False,
                    what="One learner: its classes and its drift are its own.",
                ),
                *variables,
            ]
        )
    )
    numbers = iter(range(1, 1000))
    for heading, panels in rows:
        built.with_row(dashboard.Row(heading).id(next(numbers)))
        for panel in panels:
            built.with_panel(panel.id(next(numbers)))
    return built.build()


def _drifts() -> dashboard.AnnotationQuery:
    """Mark on every panel when a detector called drift."""
    return (
        dashboard.AnnotationQuery()
        .name("Drift")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("orange")
        .expr(f"sum by (detector, signal) (increase({metric('drift_detections_total')}[$__rate_interval])) > 0")
    )
