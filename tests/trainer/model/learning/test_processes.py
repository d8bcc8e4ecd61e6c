"""Several processes learn what one learns: the parts of a batch add up, and torchrun's two end with one model."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clusters import REPOSITORY
from tests.trainer.model.learning.short_runs import contrast_of, learn, pretraining, small_decoder
from tests.trainer.worlds import corpus, prior, vocabulary
from trainer.model.batches import Batch, Behaviour, Metadata
from trainer.model.learning.losses import batch_loss
from trainer.model.learning.processes import Processes, joined

STEPS = 60
LEARNS = """
import sys
from pathlib import Path
import torch
from tests.trainer.model.learning.short_runs import pretraining
from tests.trainer.worlds import corpus
from trainer.model.learning.pretraining import follow
from trainer.model.learning.processes import joined

processes = joined()
if processes.leads:
    for run, steps in enumerate((3, int(sys.argv[2]))):
        model, learning = pretraining(corpus(), steps, processes=processes)
        outcome = learning.run()
    torch.save((model.state_dict(), outcome.item_loss), Path(sys.argv[1]))
    processes.give(None)
else:
    follow(processes)
"""
GIVES_UP = """
import sys
from tests.trainer.model.learning.short_runs import pretraining
from tests.trainer.worlds import corpus
from trainer.model.learning.pretraining import follow
from trainer.model.learning.processes import joined

class Enough(Exception): ...

def enough(done, loss):
    raise Enough

processes = joined()
if processes.leads:
    try:
        pretraining(corpus(), 40, processes=processes)[1].run(enough)
    except Enough:
        print("given up", flush=True)
    print("and then", pretraining(corpus(), 7, processes=processes)[1].run().steps, flush=True)
    processes.give(None)
else:
    follow(processes)
"""


def batches() -> list[Batch]:
    """One of behaviour, and one of words."""
    world, v, random = corpus(), vocabulary(), np.random.default_rng(3)
    every = np.ones(len(world), bool)
    behaviour = Behaviour(world, v, every, random.random(len(world)), 50, np.zeros(len(world), int))
    metadata = Metadata(world.texts, world.codes_IL, v, moment=0)
    return [behaviour.batch(behaviour.groups(256, random)[0], random), metadata.batch(15, random)]


@pytest.mark.parametrize("size", [2, 9])
@pytest.mark.parametrize("which", [0, 1])
def test_the_losses_of_all_parts_are_that_of_the_whole(size: int, which: int) -> None:
    """Gradients, too: they are sums of what is shown here. With more parts than rows, some have none."""
    model, whole = small_decoder().eval(), batches()[which]

    def losses(part: Batch) -> tuple[float, ...]:
        told = batch_loss(model, prior(), contrast_of(corpus()), part, np.random.default_rng(0), None, whole)
        return tuple(loss.item() for loss in told)

    parts = [losses(Processes(rank, size).part(whole)) for rank in range(size)]
    assert np.allclose(np.sum(parts, axis=0), losses(whole), rtol=1e-4)
    assert losses(whole)[0] > 0


def test_parts_share_all_that_is_to_be_written() -> None:
    for whole in batches():
        parts = [Processes(rank, 3).part(whole) for rank in range(3)]
        for name in ("item_N", "text_W", "tokens_BTK"):
            assert sum(len(getattr(part, name)) for part in parts) == len(getattr(whole, name))
        for part in parts:
            assert np.all(part.row_N < len(part.tokens_BTK))
            assert np.all(part.text_row_W < len(part.tokens_BTK))
        one = Processes(0, 1).part(whole)
        assert all(getattr(one, each.name) is getattr(whole, each.name) for each in fields(Batch))


def test_all_draw_the_same_whichever_part_they_have() -> None:
    """Else their next batches would differ: a part without rows draws as many negatives as the others."""
    whole, drawn = batches()[0], []
    for part in (whole, Processes(0, 30).part(whole), Processes(29, 30).part(whole)):
        random = np.random.default_rng(0)
        batch_loss(small_decoder(), prior(), contrast_of(corpus()), part, random, None, whole)
        drawn.append(random.random())
    assert len(set(drawn)) == 1


def test_one_alone_asks_nobody() -> None:
    assert joined() == Processes(0, 1)
    assert Processes().agree(3.5) == 3.5
    assert Processes().total(1.0, 2.0, 3.0) == (1.0, 2.0, 3.0)
    Processes().give(replace(Processes()))


def torchrun(program: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    ran = subprocess.run(
        [*command, sys.executable, "-c", program, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


@pytest.mark.long
def test_two_processes_of_torchrun_learn_as_one_does(tmp_path: Path) -> None:
    """Run after run, the same steps on the same batches; what is hidden by chance differs."""
    model, outcome = learn(corpus(), STEPS)
    torchrun(LEARNS, str(tmp_path / "both"), str(STEPS))
    weights, item_loss = torch.load(tmp_path / "both")
    begun = small_decoder().state_dict()
    both, one = (
        torch.cat([(after[name] - start).flatten() for name, start in begun.items()])
        for after in (weights, model.state_dict())
    )
    moved = torch.nn.functional.cosine_similarity(both, one, dim=0)
    assert moved > 0.8
    assert item_loss == pytest.approx(outcome.item_loss, rel=0.1)


@pytest.mark.long
def test_a_run_that_the_leader_gives_up_is_given_up_by_all_and_the_next_one_goes_on() -> None:
    assert torchrun(GIVES_UP).split() == ["given", "up", "and", "then", "7"]


def test_who_is_out_of_step_ends_its_process_and_no_run() -> None:
    with pytest.raises(SystemExit, match="Start all again"), Processes(0, 2).in_step():
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(RuntimeError), Processes().in_step():
        raise RuntimeError("not of the others")


def test_what_a_follower_is_handed_is_the_run_as_it_stands() -> None:
    import pickle

    _, learning = pretraining(corpus(), 5)
    job = pickle.loads(pickle.dumps(learning.job()))
    assert job.warm == learning.warm
    assert job.behaviour.identity() == job.state.corpus
