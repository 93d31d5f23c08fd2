"""The census records as the credit model takes them: which columns it may see, and in what form.

Numbers become float64; codes and categories become text, because an industry's code 33 is a name and not three
times 11. Nothing is filled in: no column that is kept has a missing value.

A column is left out for one of three reasons, and each says which:

- *not about the person*: a survey's weight, and the year that tells the two surveys apart
- *coding, not the world*: it was recoded, or not asked, in 1995, so a model would learn the questionnaire
- *protected*: the applicant's race, origin, sex or marital status, which a decision on credit may not use
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

DATA: Final = Path(__file__).parent / "data"
TRAIN: Final = DATA / "train.parquet"
TEST: Final = DATA / "test.parquet"

TARGET: Final = "income_over_50k"

LEFT_OUT: Final = {
    "instance_weight": "not about the person",
    "year": "not about the person",
    "migration_msa": "coding, not the world: missing in 1995",
    "migration_region": "coding, not the world: missing in 1995",
    "migration_within_region": "coding, not the world: missing in 1995",
    "migration_sunbelt": "coding, not the world: missing in 1995",
    "same_house_one_year_ago": "coding, not the world: recoded in 1995",
    "employment_status": "coding, not the world: recoded in 1995",
    "region_of_previous_residence": "coding, not the world: recoded in 1995",
    "state_of_previous_residence": "coding, not the world: recoded in 1995",
    "race": "protected",
    "hispanic_origin": "protected",
    "sex": "protected",
    "marital_status": "protected",
    "country_of_birth_father": "protected: national origin",
    "country_of_birth_mother": "protected: national origin",
    "country_of_birth_self": "protected: national origin",
}
"""What the model never sees, and why."""

CODES: Final = ("detailed_industry", "detailed_occupation", "own_business", "veterans_benefits")
"""Numbers that are names."""

AMOUNTS: Final = ("capital_gains", "capital_losses", "dividends")
"""Sums of money, in dollars. Version 1 does without them."""


def read(path: Path, year: int) -> pd.DataFrame:
    """One year's records, whole, in the file's order; the index is the row's place in the file.

    Args:
        path: TRAIN or TEST.
        year: 94 or 95.
    """
    records = pd.read_parquet(path)
    return records[records["year"] == year]


def inputs_of(records: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model may take, as float64 and text."""
    kept = records.drop(columns=[TARGET, *LEFT_OUT])
    numbers = [str(name) for name in kept.select_dtypes("number") if name not in CODES]
    return kept.astype(str).assign(**{name: kept[name].astype(float) for name in numbers})


def target_of(records: pd.DataFrame) -> pd.Series[int]:
    """1 where the income is over 50,000 dollars, else 0."""
    return records[TARGET].astype(int)
