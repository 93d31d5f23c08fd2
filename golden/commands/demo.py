"""`golden demo`: the main job, live in the terminal, on real data."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golden.output import console, escape
from services.chassis.errors import GoldenpathError

if TYPE_CHECKING:
    from golden.demo.play import Play


class Example(StrEnum):
    """What is played."""

    CREDIT = "credit"
    FRAUD = "fraud"


Which = Annotated[Example, typer.Argument(help="Which example is played.")]
Seed = Annotated[int, typer.Option("--seed", help="Of fraud: other customers than those that trained it.", min=0)]
Beaten = Annotated[bool, typer.Option("--beaten", help="Of fraud: the new one beats both versions; train a third.")]
NoDrift = Annotated[bool, typer.Option("--no-drift", help="Nothing breaks: 1995's real traffic on the 1994 model.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the platform running afterwards.")]
Home = Annotated[Path | None, typer.Option("--home", help="Where the demo keeps its platform; emptied first.")]
Patience = Annotated[float, typer.Option("--patience", help="Seconds that any one thing may take.", min=5)]
Broken = Annotated[str, typer.Option("--sabotage", hidden=True, help="Break something, so that the demo must fail.")]
Trained = Annotated[
    list[str] | None, typer.Option("--trained", hidden=True, help="A version's run, in --home already.")
]


def demo(
    which: Which = Example.CREDIT,
    *,
    seed: Seed = 0,
    beaten: Beaten = False,
    no_drift: NoDrift = False,
    keep: Keep = False,
    home: Home = None,
    patience: Patience = 90.0,
    sabotage: Broken = "",
    trained: Trained = None,
) -> None:
    """Train, gate, deploy, canary, drift, hold, roll back: shown and checked.

    `credit` plays on real census records whose feeds break. `fraud` plays on simulated card payments, where a new kind
    of fraud comes that no input shows, only outcomes: the platform goes back, or asks to train again.
    """
    from golden.demo.fraud import FraudPlay
    from golden.demo.performance import Performance
    from golden.demo.sabotage import Sabotage

    common: dict[str, Any] = {
        "home": home,
        "patience": timedelta(seconds=patience),
        "keep": keep,
        "trained": trained or (),
        "console": console,
    }
    play: Play = (
        FraudPlay(seed=seed, beaten=beaten, **common)
        if which is Example.FRAUD
        else Performance(no_drift=no_drift, sabotage=Sabotage(sabotage), **common)
    )
    try:
        play.run()
    except GoldenpathError as error:
        console.print(f"\n[red]The demo failed:[/red] {escape(str(error))}")
        console.print(f"  Its logs are in {escape(str(play.home))}")
        raise typer.Exit(1) from None
