"""A request under way names itself to those who are asked because of it, and to nobody else."""

from __future__ import annotations

import asyncio

from stream.tracing.requests import answering, outgoing
from stream.tracing.stages import Stages
from tests.stream.tracing.test_stages import NOT_SAMPLED, SAMPLED, Told


def test_what_is_asked_meanwhile_is_a_part_of_it() -> None:
    told = Told()

    async def ask(traceparent: str) -> dict[str, str]:
        with answering(told.stages, "GET", "/v1/recommend", traceparent):
            await asyncio.sleep(0)
            [named] = await asyncio.gather(_asked())
            return named

    async def main() -> list[dict[str, str]]:
        return await asyncio.gather(*(ask(one) for one in (SAMPLED.decode(), NOT_SAMPLED.decode(), "soon")))

    sampled, *others = asyncio.run(main())
    assert (others, outgoing()) == ([{}, {}], {})
    [span] = told.spans
    assert span.context is not None
    assert sampled["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
    assert span.name == "GET /v1/recommend"
    assert told.malformed == 1


async def _asked() -> dict[str, str]:
    return outgoing()


def test_without_a_collector_nothing_is_named() -> None:
    with answering(Stages(), "GET", "/v1/recommend", SAMPLED.decode()) as stage:
        assert (stage, outgoing()) == (None, {})
