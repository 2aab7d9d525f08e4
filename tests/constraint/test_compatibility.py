"""What else is done with modules that are constrained: a row of docs/compatibility.md each.

The page is written anew by ONELIP_WRITE_COMPATIBILITY=1 pytest tests/constraint/test_compatibility.py, and a
plain run fails where it differs from these tests.
"""

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import parametrize
from torch.nn.utils import spectral_norm as torch_spectral_norm_hook
from torch.utils.checkpoint import checkpoint

from onelip.constraint.apply import constrain, refresh
from onelip.constraint.bake import bake
from onelip.constraint.describe import constraint_of
from onelip.constraint.penalty import gradient_penalty, zero_centred_penalty
from onelip.constraint.spectral import SpectralNorm
from tests.constraint.test_spectral import norm

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
HEAD = """# What works with a constrained module

Written by `tests/constraint/test_compatibility.py`; each row is a test.

| with | kinds | what is tested |
|---|---|---|
"""
SPECTRAL = ("spectral", "spectral-reshaped")
ALL = (*SPECTRAL, "orthogonal")
ROWS: list[str] = []
SHAPE = (2, 6, 6)


def works_with(title: str, kinds: tuple[str, ...] = ALL, together: bool = False):
    """A test for every kind, or one that goes through them, and a row for the page from its docstring."""

    def mark(test):
        ROWS.append(f"| {title} | {', '.join(kinds)} | {' '.join(test.__doc__.split())} |")
        return test if together else pytest.mark.parametrize("kind", kinds)(test)

    return mark


def plain(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.Flatten(), nn.Linear(144, 1)
    )


def network(kind: str, seed: int = 0) -> nn.Sequential:
    return constrain(plain(seed), kind, input_shape=SHAPE)


def points(count: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 1) -> None:
    optimizer.zero_grad()
    (module(points(seed=seed) + 1).mean() - module(points(seed=seed + 1)).mean()).backward()
    optimizer.step()


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=1e-3, betas=(0.0, 0.9))


def same(a: nn.Module, b: nn.Module) -> None:
    torch.testing.assert_close(a(points()), b(points()), rtol=0, atol=0)


def parameter_gradients(module: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(
        torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, materialize_grads=True)
    )


def assert_gradients_match_differences(module: nn.Module, loss) -> None:
    """Along a random direction in the parameters, in float64; u and v of the constraint held as they are."""
    module.double().eval()
    parameters = [p for p in module.parameters() if p.numel()]
    directions = [torch.randn_like(p) for p in parameters]
    gradient = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    slope = sum((g * d).sum() for g, d in zip(gradient, directions, strict=True))
    values, h = [], 1e-5
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * h)
        values.append(loss().detach())
    torch.testing.assert_close((values[0] - values[1]) / (2 * h), slope, rtol=1e-3, atol=1e-6)


@works_with("two forwards before a backward")
def test_two_forwards(kind):
    """Real and generated batches through one weight, then one backward; their gradients add up."""
    critic = network(kind)
    together = parameter_gradients(critic, critic(points(seed=1)).sum() + critic(points(seed=2)).sum())
    apart = [parameter_gradients(critic, critic(points(seed=seed)).sum()) for seed in (1, 2)]
    for total, a, b in zip(together, *apart, strict=True):
        torch.testing.assert_close(total, a + b, rtol=1e-4, atol=1e-6)


@works_with("two forwards, a backward each")
def test_two_backwards(kind):
    """D(real) and D(generated), one backward after the other: gradients add up to those of one backward."""
    critic, parted = network(kind), network(kind)
    (critic(points(seed=1)).sum() + critic(points(seed=2)).sum()).backward()
    losses = [parted(points(seed=seed)).sum() for seed in (1, 2)]
    for loss in losses:
        loss.backward()
    for p, q in zip(critic.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


@works_with("activation checkpointing", together=True)
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "non-reentrant"])
@pytest.mark.parametrize("kind", ALL)
def test_checkpointing(kind, reentrant):
    """torch.utils.checkpoint, reentrant and not, two forwards a step: the gradients are those without it."""
    critic, saving = network(kind), network(kind)
    for seed in (1, 2):
        critic(points(seed=seed)).sum().backward()
    x = [points(seed=seed).requires_grad_() for seed in (1, 2)]
    sum(checkpoint(saving, batch, use_reentrant=reentrant).sum() for batch in x).backward()
    for p, q in zip(critic.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


@works_with("torch.func", SPECTRAL)
def test_functional_transforms(kind):
    """functional_call under grad, and vmap over samples, after the module itself was run: the same gradients
    as of backward."""
    critic = network(kind)
    critic(points()).sum().backward()
    parameters = {name: p.detach() for name, p in critic.named_parameters()}

    def score(parameters, x):
        return torch.func.functional_call(critic, parameters, (x[None],)).sum()

    whole = torch.func.grad(lambda p: torch.func.functional_call(critic, p, (points(),)).sum())(parameters)
    each = torch.func.vmap(torch.func.grad(score), in_dims=(None, 0))(parameters, points())
    critic(points())
    for name, p in critic.named_parameters():
        torch.testing.assert_close(whole[name], p.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(each[name].sum(0), p.grad, rtol=1e-4, atol=1e-5)


@works_with("gradient penalty")
def test_gradient_penalty(kind):
    """The penalty's derivative by the parameters (double backward) against differences, in float64."""
    critic, mix = network(kind), torch.linspace(0, 1, 8, dtype=torch.float64)
    x, y = points(seed=1).double(), points(seed=2).double()
    assert_gradients_match_differences(critic, lambda: gradient_penalty(critic, x, y, target=0.3, mix=mix))


@works_with("R1 penalty")
def test_r1(kind):
    """The zero-centred penalty's derivative by the parameters against differences, in float64."""
    critic = network(kind)
    assert_gradients_match_differences(critic, lambda: zero_centred_penalty(critic, points().double()))


@works_with("autocast to bfloat16")
def test_autocast(kind):
    """Forward and backward under torch.autocast; the norm is still estimated in float32."""
    critic, reference = network(kind), network(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            for module in (critic, reference):
                next(iter(module.parameters())).mul_(1.5)
        score = critic(points())
        score.float().sum().backward()
        weight = critic[0].weight
    assert score.dtype == torch.bfloat16
    torch.testing.assert_close(weight, reference[0].weight, rtol=1e-2, atol=1e-2)
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters() if p.grad is not None)


def in_another_process(statements: str, *arguments: str) -> subprocess.Popen:
    """With this file's names: torch.compile cannot see through the shape checks that tests run under."""
    code = f"import sys; from {__name__} import *; sys.argv[:] = sys.argv[1:]; {statements}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=PAGE.parents[1], stderr=subprocess.PIPE, text=True
    )


def assert_succeeds(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def compiled_training(backend: str) -> None:
    torch.set_num_threads(1)
    for kind in ALL:
        torch.compiler.reset()
        compiled_training_of(kind, backend)


def compiled_training_of(kind: str, backend: str) -> None:
    eager, compiled = network(kind), network(kind)
    forward = torch.compile(compiled, fullgraph=True, backend=backend)
    for module, call in ((eager, eager), (compiled, forward)):
        optimizer = adam(module)
        for seed in range(3):
            step(call, optimizer, seed)
    torch.testing.assert_close(
        dict(compiled.named_parameters()), dict(eager.named_parameters()), rtol=1e-4, atol=1e-5
    )
    with torch.no_grad():
        next(iter(compiled.parameters())).mul_(7)
        forward.eval()
        torch.testing.assert_close(forward(points()), compiled(points()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@works_with("torch.compile", together=True)
def test_compile(backend):
    """fullgraph=True: three optimizer steps, compiled and not, end at the same weights; an edited weight is
    noticed in eval mode."""
    assert_succeeds(in_another_process("compiled_training(*sys.argv)", backend))


@works_with("CUDA graphs", SPECTRAL, together=True)
def test_cuda_graphs():
    """Not in training: how often an estimate iterates depends on the weight's numbers, which a graph cannot
    hold; its operators are tagged `cudagraph_unsafe`, so that torch.compile leaves them out of graphs."""
    for operator in (torch.ops.onelip.follow.default, torch.ops.onelip.settle.default):
        assert torch.Tag.cudagraph_unsafe in operator.tags


def distributed_training(rank: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=int(rank), world_size=2)
    trained = {}
    for kind in ALL:
        critic = DistributedDataParallel(network(kind, seed=int(rank)))  # rank 0's weights are sent to all
        optimizer = adam(critic)
        for seed in range(3):
            step(critic, optimizer, seed=10 * int(rank) + seed)
        trained[kind] = dict(critic.module.named_parameters()), critic.module[0].weight.detach()
    torch.save(trained, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@works_with("DistributedDataParallel", together=True)
def test_distributed(tmp_path):
    """Two processes on gloo, other batches and other initial weights: after three steps both hold the same
    parameters, and weights in use that agree to the tolerance."""
    call = "distributed_training(*sys.argv)"
    assert_succeeds(*[in_another_process(call, str(rank), str(tmp_path)) for rank in range(2)])
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for kind in ALL:
        (one, one_weight), (other, other_weight) = first[kind], second[kind]
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        torch.testing.assert_close(one_weight, other_weight, rtol=0.01, atol=1e-4)


@works_with("copy.deepcopy")
def test_deepcopy(kind):
    """The copy gives the same outputs, and neither follows the other's training."""
    critic = network(kind)
    other = copy.deepcopy(critic)
    same(critic, other)
    before = other(points())
    step(critic, adam(critic))
    torch.testing.assert_close(other(points()), before, rtol=0, atol=0)


def loaded_training(path: str) -> None:
    critic = torch.load(path, weights_only=False)
    step(critic, torch.optim.SGD(critic.parameters(), lr=0.1))
    assert isinstance(constraint_of(critic[0]), SpectralNorm)


@pytest.mark.parametrize("kind", ALL)
def test_a_copy_and_its_original_lose_their_constraints_apart(kind):
    critic = network(kind).eval()
    before = critic(points())
    copies = [copy.deepcopy(critic), copy.deepcopy(copy.deepcopy(critic)), critic]
    for module in copies[:2]:
        for index in (0, 3):
            parametrize.remove_parametrizations(module[index], "weight")
    for module in copies:
        torch.testing.assert_close(module(points()), before, rtol=1e-5, atol=1e-6)
    copies.append(copy.deepcopy(critic))
    parametrize.remove_parametrizations(critic[0], "weight")
    same(copies[-1], critic)


@works_with("pickle and torch.save of the whole module")
def test_pickle(kind, tmp_path):
    """torch's own parametrizations refuse this; here the same outputs come back, and another process that
    loads the file goes on training."""
    critic = network(kind)
    same(critic, pickle.loads(pickle.dumps(critic)))
    if kind == "spectral":
        torch.save(critic, tmp_path / "critic.pt")
        assert_succeeds(in_another_process("loaded_training(*sys.argv)", str(tmp_path / "critic.pt")))


@works_with("state_dict round trip")
def test_state_dict(kind, tmp_path):
    """A run that is saved after some steps and loaded by another process goes on bit for bit."""

    def train(critic, optimizer, seeds):
        for seed in seeds:
            step(critic, optimizer, seed)

    whole = network(kind)
    optimizer = adam(whole)
    train(whole, optimizer, range(12))
    first = network(kind)
    optimizer = adam(first)
    train(first, optimizer, range(7))
    torch.save((first.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
    model_state, optimizer_state = torch.load(tmp_path / "checkpoint.pt")
    second = network(kind, seed=5)
    optimizer = adam(second)
    second.load_state_dict(model_state)
    optimizer.load_state_dict(optimizer_state)
    train(second, optimizer, range(7, 12))
    torch.testing.assert_close(second.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", SPECTRAL)
def test_a_network_that_was_cast_goes_on_bit_for_bit(kind, dtype):
    def steps(layer, seeds):
        optimizer = torch.optim.SGD(layer.parameters(), lr=1e-4)
        for seed in seeds:
            x = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()

    def cast():
        torch.manual_seed(0)
        return constrain(nn.Linear(8, 8), kind).to(dtype)

    whole, second = cast(), cast()
    steps(whole, range(3))
    second.load_state_dict(whole.state_dict())
    torch.testing.assert_close(second.eval().weight, whole.eval().weight, rtol=0, atol=0)
    for layer in (whole, second):
        steps(layer.train(), range(3, 20))
    same_bits = {"rtol": 0, "atol": 0, "equal_nan": True}  # in half precision a seal's bits may mean NaN
    torch.testing.assert_close(second.state_dict(), whole.state_dict(), **same_bits)


@works_with("moving averages (EMA)")
def test_ema(kind):
    """AveragedModel, of parameters alone and of buffers too: averages meet the target in eval mode."""
    for use_buffers in (False, True):
        critic = network(kind)
        optimizer = torch.optim.SGD(critic.parameters(), lr=1.0)
        ema = torch.optim.swa_utils.AveragedModel(
            critic, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=use_buffers
        )
        for seed in range(5):
            step(critic, optimizer, seed)
            ema.update_parameters(critic)
        layer = ema.module.eval()[0]
        sigma = (
            torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
            if kind == "spectral-reshaped"
            else norm(layer, SHAPE)
        )
        assert sigma == pytest.approx(1, rel=2e-3)


@works_with("checkpoints of torch's spectral_norm, hook", SPECTRAL)
def test_torch_hook_checkpoint(kind):
    """weight_orig, weight_u, weight_v: loaded with strict=True, the same raw weight, and the same function
    where torch has converged and the norm is the same."""
    theirs = plain(seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in (0, 3):
            torch_spectral_norm_hook(theirs[index], n_power_iterations=1000)
        theirs(points())
    _loads_as_if_raw(kind, theirs, raw=theirs[0].weight_orig)


@works_with("checkpoints of torch's spectral_norm, parametrization", SPECTRAL)
def test_torch_parametrization_checkpoint(kind):
    """parametrizations.weight.original, .0._u, .0._v: as above."""
    theirs = plain(seed=3)
    for index in (0, 3):
        torch_parametrizations.spectral_norm(theirs[index], n_power_iterations=1000)
    _loads_as_if_raw(kind, theirs, raw=theirs[0].parametrizations.weight.original)


def _loads_as_if_raw(kind: str, theirs: nn.Module, raw: torch.Tensor) -> None:
    ours = network(kind)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.testing.assert_close(ours[0].parametrizations.weight.original, raw, rtol=0, atol=0)
    if kind == "spectral-reshaped":
        torch.testing.assert_close(ours.eval()(points()), theirs.eval()(points()), rtol=1e-3, atol=1e-3)
    else:
        assert norm(ours.eval()[0], SHAPE) == pytest.approx(1, rel=1e-3)


@works_with("checkpoints of the unconstrained network", SPECTRAL)
def test_unconstrained_checkpoint(kind):
    """Plain weights load with strict=True: as if they had been constrained then."""
    ours = network(kind)
    ours.load_state_dict(plain(seed=3).state_dict(), strict=True)
    torch.testing.assert_close(
        ours.eval()(points()), network(kind, seed=3).eval()(points()), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kind", SPECTRAL)
def test_a_plain_weight_is_met_with_few_iterations_too(kind):
    """One power iteration from the estimate of another weight would find next to nothing of its norm."""
    torch.manual_seed(0)
    spiked = 10 * torch.outer(torch.eye(64)[5], torch.eye(64)[9]) + 0.1 * torch.randn(64, 64)
    layer = constrain(nn.Linear(64, 64), kind, iterations=1)
    layer.load_state_dict({"weight": spiked, "bias": torch.zeros(64)})
    assert norm(layer, (64,)) == pytest.approx(1, rel=1e-3)
    assert layer.parametrizations.weight[0].reach < 0  # each change is followed from here on


@pytest.mark.parametrize("kind", ALL)
def test_a_state_that_inference_loads_is_one_to_train_from(kind):
    critic, other = network(kind), network(kind, seed=5)
    with torch.inference_mode():
        other.load_state_dict(critic.state_dict())
    for module in (critic, other):
        module.eval()(points())
        step(module.train(), adam(module))
    same(critic.eval(), other.eval())


@works_with("half precision", SPECTRAL)
def test_half(kind):
    """module.bfloat16() and back: the weights in use stay within the format's resolution of the target."""
    critic = refresh(network(kind).bfloat16())
    assert critic[0].weight.dtype == torch.bfloat16
    weight = critic[0].weight
    torch.testing.assert_close(weight.float(), network(kind)[0].weight, rtol=0.03, atol=0.01)
    torch.testing.assert_close(critic.float()(points()), network(kind)(points()), rtol=0.05, atol=0.05)


@works_with("bake", ("spectral", "orthogonal"))
def test_baked_networks_are_plain(kind):
    """Nothing of onelip is left in the copy, outputs agree, and the original goes on as it was."""
    critic = network(kind).eval()
    before = critic(points())
    baked = bake(critic)
    assert [type(m) for m in baked.modules()] == [type(m) for m in plain().modules()]
    assert baked.state_dict().keys() == plain().state_dict().keys()
    assert not baked._forward_pre_hooks
    assert b"onelip" not in pickle.dumps(baked)
    torch.testing.assert_close(baked(points()), before, rtol=5e-3, atol=5e-3)
    torch.testing.assert_close(critic(points()), before, rtol=0, atol=0)


def test_the_page_has_a_row_for_each_of_these_tests():
    page = HEAD + "\n".join(ROWS) + "\n"
    if os.environ.get("ONELIP_WRITE_COMPATIBILITY"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "write it anew: see the docstring of this file"
