"""What decisions cost: a missed fraud its amount, and a call to the customer somebody's time.

The bank calls where the probability of fraud is at least the price of a call over the sum of that and the loss that it
averts; below, calls cost more than they save (C. Elkan, The Foundations of Cost-Sensitive Learning, IJCAI 2001). Both
prices are assumptions.
"""

from __future__ import annotations

from typing import Final

from examples.fraud.world import Numbers

CALL: Final = 1.5
"""Euros, for each call."""

LOSS: Final = 150.0
"""Euros that an undetected fraud is assumed to cost, when the threshold is chosen."""

THRESHOLD: Final = CALL / (CALL + LOSS)
"""The probability from which on the bank calls: 0.0099."""


def cost(scores: Numbers, fraud: Numbers, amounts: Numbers) -> float:
    """Euros that a model's decisions cost: its calls, and what was lost on frauds that it let pass.

    Args:
        scores: Probabilities of fraud, shape (rows,).
        fraud: 1 where it was, else 0.
        amounts: Euros.

    >>> import numpy as np
    >>> cost(np.array([0.9, 0.9, 0.0, 0.0]), np.array([1, 0, 1, 0]), np.array([80.0, 20.0, 60.0, 10.0]))
    70.0
    """
    called = scores >= THRESHOLD
    return float(CALL * called.sum() + amounts[~called & (fraud > 0)].sum())
