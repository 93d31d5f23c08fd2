"""Watching a model: reference against now, how evidence grew, and what other settings would have found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from golden import monitor_page, promises
from golden.commands.deployments import Environment, Version
from golden.monitor_plots import bins_of, by_how_surely, sides_of
from golden.output import Json, as_dict, console, escape, moment, print_json, table
from golden.references import reference
from golden.session import connect
from golden.sparks import bent, pooled, spark, whisker
from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from goldenpath.registry.v1.events_pb2 import DriftSettings
from services.chassis.errors import Invalid, NotFound

if TYPE_CHECKING:
    from services.profile import Column

_SHOWN: Final = 12  # features; the rest is in --json and on the page
_BARS: Final = 12  # of a distribution
_NAME: Final = 25  # characters of a feature's name: a row then fits eighty columns
_MOMENTS: Final = 60  # of the evidence over time
Why = Annotated[bool, typer.Option("--why", help="Show bounds, evidence, every effect, segment and day.")]
Page = Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Write it as an HTML page.")]
Effect = Annotated[str, typer.Option("--effect", help="Judge by another effect: psi, js, ks, wasserstein.")]
Tolerance = Annotated[float, typer.Option("--tolerance", min=0, help="Judge by another tolerance.")]
FalseAlarms = Annotated[float, typer.Option("--false-alarms", min=0, help="Judge by other false alarms a year.")]
By = Annotated[
    Path | None, typer.Option("--by", metavar="FOLDER", help="Judge by what golden.yaml says of drift, as it is now.")
]


def monitor(
    version: Version,
    *,
    env: Environment = "production",
    effect: Effect = "",
    tolerance: Tolerance = 0.0,
    false_alarms: FalseAlarms = 0.0,
    by: By = None,
    why: Why = False,
    page: Page = None,
    json: Json = False,
) -> None:
    """Show a deployment against its reference: now, and over time.

    With other settings it says what they would have found in the records that went by: a backtest.
    """
    named = reference(version)
    report = connect().monitor.GetReport(pb.GetReportRequest(model=named.model, version=named.version, environment=env))
    settings = _drift_said_in(by) if by else DriftSettings()
    settings.MergeFrom(DriftSettings(effect=effect, tolerance=tolerance, false_alarms_per_year=false_alarms))
    history = connect().monitor.GetHistory(
        pb.GetHistoryRequest(
            model=report.model,
            environment=env,
            version=report.version,
            settings=settings,
            settings_alone=by is not None,
        )
    )
    if json:
        print_json({"report": as_dict(report), "history": as_dict(history)})
        return
    if page:
        page.write_text(monitor_page.render(report, history), encoding="utf-8")
        console.print(f"Open it in a browser: {escape(str(page))}")
        return
    console.print(
        f"[bold]{escape(report.model)}@{report.version}[/bold]   {escape(report.role)}   {escape(report.sentence)}"
    )
    console.print(f"[dim]{report.rows_seen:,} records seen, {report.rows_dropped:,} dropped by servers[/dim]\n")
    features = sorted(report.features, key=by_how_surely)[:_SHOWN]
    _show_features(features, history)
    if why:
        _show_why(features)
    _show_relations([each for each in report.relations if why or each.log_evidence > report.log_threshold])
    if report.HasField("performance"):
        _show_performance(report.performance, why=why)
    if report.HasField("estimated"):
        _show_estimated(report.estimated, report.performance)
    _show_time(history, as_if=by is not None or settings != DriftSettings())


def _drift_said_in(folder: Path) -> DriftSettings:
    from golden import project, registration

    return registration.drift_of(project.load(folder))


def _show_features(features: list[events.FeatureEffect], history: pb.GetHistoryResponse) -> None:
    shapes = {each.feature: each for each in history.distributions}
    rows = [
        (
            _named(each),
            f"{each.effect:.3f}",
            *_shapes(shapes[each.feature] if each.feature in shapes else pb.Distribution()),
            whisker(each.lower, each.effect, each.upper, each.tolerance),
        )
        for each in features
    ]
    table("feature", history.effect or "effect", "reference", "now", "    tolerated", rows=rows)


def _named(effect: events.FeatureEffect) -> Text:
    """A feature's name on one line, marked where it drifts beyond what is tolerated."""
    beyond = effect.lower > effect.tolerance
    named = Text(("✗ " if beyond else "  ") + effect.feature, style="red" if beyond else "", no_wrap=True)
    named.truncate(_NAME, overflow="ellipsis")
    return named


def _shapes(shape: pb.Distribution) -> tuple[str, str]:
    """Both with one scale: the same height is the same share. A number's commonest value would hide the others."""
    _, held = bins_of(shape)
    then, now = (pooled(shares, _BARS) for shares in ([then for _, then, _ in held], [now for _, _, now in held]))
    highest = max([*then, *now], default=0.0)
    return spark(then, highest), spark(now, highest)


def _show_why(features: list[events.FeatureEffect]) -> None:
    """Bounds, evidence, and every effect, a number each."""
    names = sorted({name for each in features for name in each.effects})
    rows = [
        (
            _named(each),
            f"{each.lower:.3f}",
            f"{each.upper:.3f}",
            f"{each.tolerance:g}",
            f"{each.log_evidence:.1f}",
            *(f"{each.effects[name]:.3f}" for name in names),
        )
        for each in features
    ]
    console.print()
    table("feature", "least", "most", "limit", "log e", *names, rows=rows)


def _show_relations(relations: list[events.RelationEffect]) -> None:
    """Pairs of features, and how often a record lies on the same side of both."""
    if not relations:
        return
    rows = [
        (*sides_of(each), f"{each.reference:.1%}", f"{each.now:.1%}", f"{each.log_evidence:.1f}") for each in relations
    ]
    console.print()
    table("go together", "", "reference", "now", "log e", rows=rows)


def _show_performance(kept: events.Performance, *, why: bool) -> None:
    """How the promise is kept, and which segments carry what isn't; to whoever asks why, all of them and the days."""
    console.print(f"\n[bold]promise[/bold]   {escape(promises.standing(kept))}")
    table("metric", "now", rows=list(promises.metric_rows(kept)))
    _show_rows(*promises.segment_rows(kept, whole=why))
    if why:
        _show_rows(*promises.day_rows(kept))


def _show_rows(headings: list[str], rows: list[list[str]]) -> None:
    if rows:
        console.print()
        table(*headings, rows=rows)


def _show_estimated(said: events.EstimatedPerformance, kept: events.Performance) -> None:
    """What is expected without outcomes, held against what is known by now."""
    console.print(f"\n[bold]estimate[/bold]   {escape(promises.expectation(said))}")
    if compared := promises.comparison(said):
        console.print(escape(compared))
    headings, rows = promises.expected_rows(said, kept)
    table(*headings, rows=rows)
    console.print(f"[dim]{promises.ASSUMED}[/dim]")


def _show_time(history: pb.GetHistoryResponse, *, as_if: bool) -> None:
    if not history.moments:
        return
    evidence = [bent(each.log_evidence, history.log_threshold) for each in history.moments[-_MOMENTS:]]
    console.print(f"\nevidence  {spark(evidence, 1.0)}")
    console.print(f"[dim]since {moment(history.moments[0].at)}; higher than ▄ something is told[/dim]")
    found = [(each.at, one) for each in history.moments for one in each.found]
    settings = f"{history.effect}, {history.false_alarms_per_year:g} false alarms a year"
    if as_if:
        console.print(
            f"By {escape(settings)}, " + ("this would have been found:" if found else "nothing would have been found.")
        )
    for at, one in found:
        console.print(f"{moment(at)}  {escape(f'{one.level:<9} {one.sentence}')}")


def tolerances(
    data: Annotated[Path, typer.Argument(help="The reference: a parquet or CSV file, rows in the order of time.")],
    *,
    effect: Effect = "psi",
    stretches: Annotated[int, typer.Option(min=2, max=1000, help="Stretches that the rows are cut into.")] = 8,
    json: Json = False,
) -> None:
    """Suggest what each feature should be allowed: how much do the reference's own stretches of time differ?"""
    from golden.tolerances import suggest
    from services.profile.effects import TOLERANCES

    if effect not in TOLERANCES:
        raise Invalid(f"{effect!r} isn't judged; {', '.join(TOLERANCES)} are", where="--effect")
    found = suggest(_columns(data), effect, stretches)
    if json:
        print_json([asdict(each) for each in found])
        return
    rows = [(each.feature, f"{each.largest:.3f}", f"{each.tolerance:.2g}") for each in found]
    table("feature", f"largest {effect} of {stretches} stretches", "suggested", rows=rows)
    restless = [each for each in found if each.tolerance > TOLERANCES[effect]]
    if not restless:
        console.print(f"\nThe shipped tolerance of {TOLERANCES[effect]:g} has room for all of them.")
        return
    console.print("\nIn golden.yaml:\n\ndrift:\n  feature_tolerances:")
    for each in restless:
        console.print(f"    {escape(each.feature)}: {each.tolerance:.2g}")
    console.print("\n# tried on the records that went by:  golden monitor MODEL --by FOLDER")


def _columns(path: Path) -> dict[str, Column]:
    import pandas as pd

    if not path.exists():
        raise NotFound(f"there is no file {path}")
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    return {str(name): _column(frame[name]) for name in frame}


def _column(series: Any) -> Column:
    import numpy as np

    from services.profile.vectors import stacked

    if series.dtype.kind in "biuf":
        return np.asarray(series.to_numpy(), dtype=np.float64)
    if series.map(lambda value: isinstance(value, list | np.ndarray)).any():
        return stacked(series.to_list(), str(series.name))
    return np.array([None if value != value else str(value) for value in series.astype(object)], dtype=object)  # noqa: PLR0124 - NaN differs from itself
