"""Gradients of every term of every method, computed by 1, 2 and 4 processes that share a batch (a script)."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import grad
from torch.multiprocessing import start_processes  # type: ignore[attr-defined]  # not in torch's __all__

from seqviews.augment.views import Views
from seqviews.model.protocol import Method
from seqviews.model.ranks import synchronise_batch_norm
from seqviews.model.registry import MODELS, find_class

BATCH, FRAMES, RANKS = 32, 2, (1, 2, 4)
SMALL: dict[str, Any] = {"width": 0.125, "static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}
OBJECTS = {name: value for name, value in SMALL.items() if name != "dynamic_dim"}  # two for each object
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "clips": ("cdsvae", {"frame_shape": (3, 16, 16), **SMALL}),
    "objects": ("cdsvae_objects", {"frame_shape": (3, 16, 16), "window": 5, **OBJECTS}),
    "warped": ("cdsvae_warped", {"frame_shape": (3, 16, 16), **SMALL}),
    "segments": ("cdsvae", {"frame_shape": (8,), **SMALL}),
    "recordings": ("cdsvae_recordings", {"frame_shape": (8,), **SMALL}),
    "s3vae of clips": ("s3vae", {"frame_shape": (3, 16, 16), "gamma": 1.0, **SMALL}),
    "s3vae of segments": ("s3vae", {"frame_shape": (8,), "gamma": 1.0, **SMALL}),
    "rwae": ("rwae", {"frame_shape": (8,), **SMALL}),
    "rwae with a player": ("rwae", {"frame_shape": (8,), "divergence": "gan", **SMALL}),
    "fhvae": ("fhvae", {"frame_shape": (8,), "sources": 16, "static_dim": 6, "dynamic_dim": 3, "hidden_dim": 12}),
    "mocogan": ("mocogan", {"frame_shape": (3, 16, 16), "categories": 3, "width": 0.125}),
    "released": ("cdsvae_released", {"frame_shape": (3, 64, 64), **SMALL}),
}


def rows(frame_shape: tuple[int, ...], rank: int, ranks: int) -> Views:
    """Every `ranks`-th record of the same batch, as a stream gives them."""
    generator = torch.Generator().manual_seed(1)
    anchor, motion = torch.rand(2, BATCH, FRAMES, *frame_shape, generator=generator)
    order = torch.rand(BATCH, FRAMES, generator=generator).argsort(1)
    source = torch.randint(0, BATCH // 2, (BATCH,), generator=generator)
    anchor, motion, order, source = (rows[rank::ranks] for rows in (anchor, motion, order, source))
    return Views(anchor, motion, order, {"source": source, "source_records": 1 + source})


def mean_over_ranks(values: list[Tensor], ranks: int) -> list[Tensor]:
    for value in values:
        if ranks > 1:
            dist.all_reduce(value.div_(ranks))
    return values


def compute(name: str, arguments: dict[str, Any], rank: int, ranks: int) -> dict[str, Any]:
    torch.manual_seed(0)
    method = find_class(name, MODELS)(**arguments)
    assert isinstance(method, Method)
    parameters = list(method.parameters())
    for of, parameter in method.named_parameters():
        if not of.startswith(("encoder", "decoder")):
            parameter.data.mul_(2)  # latents that differ between clips, so that no term is near zero
    if ranks > 1:
        synchronise_batch_norm(method)
    torch.manual_seed(7)
    views = rows(arguments["frame_shape"], rank, ranks)
    gradients: dict[str, Any] = {}
    terms: dict[str, Tensor] = {}
    for player in method.players:
        loss = method.loss(views, player)
        terms |= loss.terms
        gradients |= {
            term: mean_over_ranks(list(grad(value, parameters, retain_graph=True, materialize_grads=True)), ranks)
            for term, value in {**loss.terms, f"total of {player}": loss.total}.items()
            if value.requires_grad
        }
    means = mean_over_ranks([value.detach().clone() for value in terms.values()], ranks)
    values = dict(zip(terms, means, strict=True))
    buffers = {n: b for n, b in method.named_buffers() if b.is_floating_point()}
    return {"gradients": gradients, "values": values, "buffers": buffers}


def work(rank: int, ranks: int, out: str) -> None:
    torch.set_num_threads(1)
    store = Path(out) / f"store-{ranks}"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        results = {case: compute(*CASES[case], rank, ranks) for case in CASES}
        if rank == 0:
            torch.save(results, Path(out) / f"{ranks}-{dtype}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    for count in RANKS:
        start_processes(work, args=(count, sys.argv[1]), nprocs=count, start_method="fork")  # type: ignore[no-untyped-call]  # not typed in torch
