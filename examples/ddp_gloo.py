"""Two ranks of DistributedDataParallel on gloo: one run, a stream of events for each rank, read as one.

    torchrun --standalone --nproc-per-node 2 examples/ddp_gloo.py [RUNS]      # needs esper-telemetry[torch]

You see the loss of each rank, which is that of its own half of the data, and after the last step the events of both
ranks from one folder. Each rank writes files of its own, so the ranks never wait for each other to record.
"""

import sys
import uuid

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import esper_telemetry as et

STEPS = 20


def shared_run_id(rank: int) -> str:
    """Return one run id for all ranks: the first one chooses it and sends it to the others."""
    chosen = [f"ddp-{uuid.uuid4().hex[:8]}" if rank == 0 else ""]
    dist.broadcast_object_list(chosen, src=0)
    return str(chosen[0])


def main(runs: str) -> None:
    """Train one rank."""
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)  # each rank draws data of its own; DDP begins with the parameters of rank 0
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with et.start_run(runs, name="ddp", run_id=shared_run_id(rank), rank=rank, config={"ranks": ranks}) as run:
        for step in range(STEPS):
            inputs = torch.randn(32, 4)
            loss = torch.nn.functional.mse_loss(model(inputs), inputs.sum(dim=1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss.item()}, step=step)
        run.results["loss"] = loss.item()
    print(f"rank {rank}: loss {loss.item():.4f} after {STEPS} steps")
    dist.barrier()  # every rank has closed its stream
    if rank == 0:
        print(f"recorded in {run.folder}")
        for each in range(ranks):
            losses = [
                event.data["scalars"]["loss"] for event in et.read(run.folder, types="scalars.logged", ranks=[each])
            ]
            print(f"  rank {each}: {len(losses)} losses, the last is {losses[-1]:.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
