"""The loss ledger."""

from esper_telemetry.recorder import ledger


def test_losses_are_counted_by_type_and_cause_and_reported_once():
    book = ledger.LossLedger()
    assert book.total == 0
    book.count("a.B", ledger.INVALID)
    book.count("a.B", ledger.BUFFER_FULL, 4)
    first = book.take_unreported()
    assert [(drop.full_name, drop.cause, drop.count) for drop in first] == [
        ("a.B", ledger.BUFFER_FULL, 4),
        ("a.B", ledger.INVALID, 1),
    ]
    assert book.take_unreported() == []
    book.count("a.B", ledger.INVALID, 2)
    assert [(drop.cause, drop.count) for drop in book.take_unreported()] == [(ledger.INVALID, 2)]
    assert book.total == 7
