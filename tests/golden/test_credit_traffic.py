from __future__ import annotations

from itertools import islice

import pytest

from examples.credit import census, traffic


@pytest.fixture(scope="module")
def some() -> list[traffic.Record]:
    return list(islice(traffic.records(94), 500))


def test_records_come_in_file_order_with_a_stable_customer_each(some: list[traffic.Record]) -> None:
    assert [record.unit for record in some[:2]] == ["customer-000003", "customer-000005"]
    assert len({record.unit for record in some}) == 500
    assert some == list(islice(traffic.records(94), 500))


def test_a_label_is_the_class_as_the_model_names_it(some: list[traffic.Record]) -> None:
    assert {record.label for record in some} == {"0", "1"}


def test_a_records_inputs_are_numbers_and_text_and_nothing_that_is_left_out(some: list[traffic.Record]) -> None:
    assert {type(value) for record in some for value in record.inputs.values()} == {float, str}
    assert not {census.TARGET, *census.LEFT_OUT} & some[0].inputs.keys()


def test_the_two_years_are_different_customers() -> None:
    first = next(traffic.records(95))

    assert first.unit == "customer-000000"


def test_a_stuck_education_feed_repeats_the_commonest_value(some: list[traffic.Record]) -> None:
    commonest = census.read(census.TRAIN, 94)["education"].mode()[0]

    broken = [traffic.education_stuck(record) for record in some]

    assert {record.inputs["education"] for record in broken} == {commonest}
    assert [rest(record, {"education"}) for record in broken] == [rest(record, {"education"}) for record in some]


def test_amounts_in_cents_are_a_hundred_times_as_large(some: list[traffic.Record]) -> None:
    amounts = set(census.AMOUNTS)

    broken = [traffic.amounts_in_cents(record) for record in some]

    assert all(
        new.inputs[name] == old.inputs[name] * 100 for new, old in zip(broken, some, strict=True) for name in amounts
    )
    assert [rest(record, amounts) for record in broken] == [rest(record, amounts) for record in some]
    assert any(record.inputs["capital_gains"] for record in some)


def rest(record: traffic.Record, without: set[str]) -> tuple[object, ...]:
    return record.unit, record.label, {name: value for name, value in record.inputs.items() if name not in without}
