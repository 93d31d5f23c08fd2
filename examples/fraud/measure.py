"""How good both versions are, before and after a new scenario begins: the tables in README.md.

Every seed is a world of its own. Both versions are trained on its first months as the notebook does it, and judged on
the month after: on what the bank knew, and then on a month in which the new scenario goes on. The same month is
simulated without it as well, which tells what of the inputs' drift is its doing.

    python -m examples.fraud.measure --seeds 5
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss

from examples.fraud import models, money
from examples.fraud.features import features_of
from examples.fraud.scenarios import Outbreak, Scenario
from examples.fraud.simulator import DOCUMENTED, simulate
from services.profile import count, profile_of
from services.profile.effects import population_stability_index

VERSIONS: Final = (1, 2)
AFTER: Final = 30
"""Days for which the new scenario goes on."""

Rows: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Month:
    """What both versions met in a month, by version where there are two.

    Args:
        days: How many those are.
        precision: Average precision, by scenario: of its frauds among all that is genuine; GENUINE stands for all.
        caught: Of each scenario's frauds, how many led to a call, 0 to 1.
        cost: Euros a day.
        loss: The mean log loss, in nats.
    """

    days: int
    precision: dict[int, dict[Scenario, float]]
    caught: dict[int, dict[Scenario, float]]
    cost: dict[int, float]
    loss: dict[int, float]


@dataclass(frozen=True, slots=True)
class Story:
    """One seed's months.

    Args:
        known: Before the new scenario.
        new: With it.
        quiet: The same month without it.
        drift: The greatest stability index of any of version 2's inputs, with the new scenario and without it.
    """

    seed: int
    known: Month
    new: Month
    quiet: Month
    drift: tuple[float, ...]


def story(seed: int) -> Story:
    """Simulate, train and judge."""
    day = DOCUMENTED.days
    world = replace(DOCUMENTED, seed=seed, days=day + AFTER)
    paid, calm = simulate(world, Outbreak(day)), simulate(world)  # the same rows, but for what the scenario takes
    features, calm_features = features_of(paid), features_of(calm)
    chosen = models.split(paid, day)
    later = (paid["time"] >= paid["time"].min().normalize() + timedelta(days=day)).to_numpy()
    fitted = {version: _fitted(version, features, paid, chosen.train) for version in VERSIONS}
    return Story(
        seed,
        _month(paid, features, fitted, chosen.held_out),
        _month(paid, features, fitted, later),
        _month(calm, calm_features, fitted, later),
        greatest_drift(features[chosen.held_out], features[later], calm_features[later]),
    )


def greatest_drift(reference: pd.DataFrame, *windows: pd.DataFrame) -> tuple[float, ...]:
    """Of each window the greatest stability index of any input, as the platform's monitor counts it."""
    profile = profile_of(_columns(reference))
    counted = [count(profile, _columns(window)) for window in windows]
    return tuple(
        max(population_stability_index(one.counts, window.of(one.name)) for one in profile.features)
        for window in counted
    )


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): frame[name].to_numpy() for name in frame}


def _fitted(version: int, features: pd.DataFrame, paid: pd.DataFrame, train: Rows) -> Any:
    inputs = models.inputs_of(version, features)[train]
    return models.estimator_of(version, seed=0).fit(inputs, paid["scenario"][train] > 0)


def _month(paid: pd.DataFrame, features: pd.DataFrame, fitted: Mapping[int, Any], rows: Rows) -> Month:
    scenario, amounts = paid["scenario"].to_numpy()[rows], paid["amount"].to_numpy()[rows]
    seen = [each for each in Scenario if each and (scenario == each).any()]
    days = int(paid["time"][rows].dt.normalize().nunique())
    precision, caught, cost, loss = {}, {}, {}, {}
    for version, model in fitted.items():
        given = model.predict_proba(models.inputs_of(version, features[rows]))[:, 1]
        genuine = scenario == Scenario.GENUINE
        precision[version] = {Scenario.GENUINE: float(average_precision_score(~genuine, given))}
        for each in seen:
            one = genuine | (scenario == each)
            precision[version][each] = float(average_precision_score((scenario == each)[one], given[one]))
        caught[version] = {each: float((given[scenario == each] >= money.THRESHOLD).mean()) for each in seen}
        cost[version] = money.cost(given, (~genuine).astype(float), amounts) / days
        loss[version] = float(log_loss(~genuine, given))
    return Month(days, precision, caught, cost, loss)


def by_scenario(stories: Sequence[Story]) -> str:
    """The table of scenarios: over all seeds, the mean."""
    lines = ["| fraud | average precision, 1 → 2 | caught, 1 → 2 |", "| --- | --- | --- |"]
    for scenario in sorted({each for one in stories for each in one.new.caught[1]}):
        months = [one.new if scenario is Scenario.BELOW_THE_LIMIT else one.known for one in stories]
        months = [month for month in months if scenario in month.caught[1]]
        precision = [np.mean([month.precision[version][scenario] for month in months]) for version in VERSIONS]
        caught = [np.mean([month.caught[version][scenario] for month in months]) for version in VERSIONS]
        name = scenario.name.lower().replace("_", " ")
        lines.append(f"| {name} | {precision[0]:.2f} → {precision[1]:.2f} | {caught[0]:.0%} → {caught[1]:.0%} |")
    return "\n".join(lines)


def by_seed(stories: Sequence[Story]) -> str:
    """The table of seeds: average precision and cost before and after, and how far inputs moved."""
    heads = ("seed", "precision, known", "€ a day, known", "€ a day, new", "log loss (without)", "PSI (without)")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for one in stories:
        first, second = (one.known.precision[version][Scenario.GENUINE] for version in VERSIONS)
        known, new = ([month.cost[version] for version in VERSIONS] for month in (one.known, one.new))
        lines.append(
            f"| {one.seed} | {first:.2f} → {second:.2f} | {known[0]:,.0f} → {known[1]:,.0f} "
            f"| {new[0]:,.0f} → {new[1]:,.0f} | {_losses(one)} "
            f"| {one.drift[0]:.3f} ({one.drift[1]:.3f}) |"
        )
    return "\n".join(lines)


def _losses(one: Story) -> str:
    return f"{one.known.loss[2]:.4f} → {one.new.loss[2]:.4f} ({one.quiet.loss[2]:.4f})"


def main() -> None:
    """Simulate, train, judge, print."""
    parser = argparse.ArgumentParser(description="Both versions before and after a new scenario begins.")
    parser.add_argument("--seeds", type=int, default=5)
    stories = [story(seed) for seed in range(1, parser.parse_args().seeds + 1)]
    print(by_scenario(stories), by_seed(stories), sep="\n\n")


if __name__ == "__main__":
    main()
