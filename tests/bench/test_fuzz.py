"""The fuzzers run, and find nothing in what each decoder is given in a moment (`python -m bench.fuzz` takes longer)."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from bench.fuzz import HungError, Tally, _try, table
from bench.fuzz_batches import BOMBS
from bench.fuzz_broker import ATTACKS, Attacked, code_of, lengthened, produced
from bench.fuzz_bytes import mutations
from bench.fuzz_decoders import Target, decoders
from stream.broker.errors import Code


def test_no_decoder_is_broken_by_bytes_that_it_does_not_expect(tmp_path: Path) -> None:
    tallies = []
    for target in decoders(tmp_path):
        tally = Tally(target.name)
        for value in islice(mutations(target.seeds, random.Random(7)), 60):
            _try(target, value, tally)
        assert not tally.crashes, f"{target.name}: {tally.first_crash}"
        assert tally.accepted, f"{target.name} takes what is right"
        tallies.append(tally)
    assert len(tallies) > 30
    assert all(f"| {tally.target} | 60 |" in table(tallies) for tally in tallies)


def test_what_breaks_a_decoder_is_counted() -> None:
    for error in (ValueError("odd"), HungError(), MemoryError()):

        def act(value: bytes, error: BaseException = error) -> bool:
            raise error

        tally = Tally("broken")
        _try(Target("broken", [b"x"], act, (KeyError,)), b"x", tally)
        assert (tally.crashes, tally.refused) == (1, 0)
        assert "b'x'" in tally.first_crash


@pytest.mark.timeout(60)
def test_a_broker_under_fire_answers_who_behaves(tmp_path: Path) -> None:
    attacked = Attacked(tmp_path)
    try:
        for name, attack in ATTACKS.items():
            for number in range(3):
                _, waited_s = attacked.by(attack(random.Random(number)), 0.1)
                assert waited_s is not None, name
        for name in ("empty gzip members", "snappy that says 4 GB", "a number without end"):
            answers, waited_s = attacked.by([lengthened(produced(BOMBS[name]()))], 20.0)
            assert [code_of(answer) for answer in answers] == [Code.INVALID_RECORD], name
            assert waited_s is not None, name
        assert attacked.faults() == []
    finally:
        assert attacked.stop() == 0
