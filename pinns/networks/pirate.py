"""The PirateNet, which starts as a linear function of its features, and what its last layer is fitted to."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.calling import dtype_of, evaluating
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.jacobian import jacobian
from sciml.objective import roots, total
from sciml.pinns.conditions import Initial, names_of, value_at
from sciml.pinns.fingerprints import going_on
from sciml.pinns.networks.mlp import check_sizes, linear
from sciml.pinns.problem import Problem
from sciml.pinns.residual import Residual
from sciml.pinns.samplers.sobol import Sobol
from sciml.streams import Streams

_HALVINGS = 30


@describable
class PirateNet(nn.Module):
    r"""Residual blocks that fade in: ``x <- alpha h(x) + (1 - alpha) x`` with trained alpha, 0 at first.

    A block has three layers, the first two gated between two encodings U and V of the features as in
    `ModifiedMLP`; the last layer has no bias.  So the network starts as a linear function of its features,
    which is what `fit_to_start` and `fit_to_equation` make use of.  They are meant to be Fourier features,
    ``partial(FourierFeatures, features=256, network=partial(PirateNet, width=256))``, and weights factorized
    (`Factorized`).

    Parameters
    ----------
    inputs, outputs : int
        A block returns as many features as come in; published networks have ``inputs = width = 256``.
    width : int
        Neurons of hidden layers.
    blocks : int
        Of three layers each.
    activation : class
        Smooth; tanh by default.

    Attributes
    ----------
    last : (outputs, inputs)
        The last layer.

    Raises
    ------
    ConfigError
        If a size is below 1, or the activation has no second derivative.

    Notes
    -----
    Source: Wang, Li, Chen and Perdikaris, PirateNets, J. Mach. Learn. Res. 25 (2024), arXiv:2402.00326.
    While alpha is 0 only alpha and the last layer have gradients.

    Examples
    --------
    >>> PirateNet(8, 1, width=8, blocks=2)(torch.zeros(5, 8)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        blocks: int = 3,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__()
        check_sizes("PirateNet", inputs, outputs, width, blocks, activation)
        self.activation = activation()
        self.first, self.second = linear(inputs, width), linear(inputs, width)
        self.blocks = nn.ModuleList(_Block(inputs, width, activation) for _ in range(blocks))
        self.last = nn.Parameter(linear(inputs, outputs).weight.detach())

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer is applied to, (n, inputs)."""
        v = self.activation(self.second(x))
        gate = self.activation(self.first(x)) - v
        found: Tensor = x
        for block in self.blocks:
            found = block(found, gate, v)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.embed(x), self.last)


class _Block(nn.Module):
    def __init__(self, features: int, width: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.activation = activation()
        self.gated = nn.ModuleList([linear(features, width), linear(width, width)])
        self.back = linear(width, features)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, gate: Tensor, v: Tensor) -> Tensor:
        h = x
        for layer in self.gated:
            h = v + self.activation(layer(h)) * gate
        found: Tensor = x + self.alpha * (self.activation(self.back(h)) - x)
        return found


def fit_last_layer(model: nn.Module, x: Tensor, y: Tensor, *, cutoff: float = 1e-6) -> float:
    r"""Set the last layer of a `PirateNet` so that a model is as close to data as it can be.

    The model is affine in these weights, whatever conditions are built in, so this is a problem of linear
    least squares; it is solved by a singular value decomposition in float64.

    Parameters
    ----------
    model : module
        With one `PirateNet` inside, such as ``problem.build(...)``.
    x : (n, dim)
    y : (n,), of a system (n, outputs)
    cutoff : float
        Singular values below this part of the largest one are left out.  Fourier features are nearly
        dependent: without, weights are huge and cancel each other, and features in float32 have seven
        digits.

    Returns
    -------
    float
        ``‖model(x) - y‖ / ‖y‖`` after the fit, of data that are zero ``‖model(x)‖``.

    Raises
    ------
    ConfigError
        If there is no `PirateNet` in the model, or more than one.
    ShapeError
        If y has another shape than ``model(x)``.

    Notes
    -----
    Source: the paper on PirateNets, physics-informed initialization.

    Examples
    --------
    >>> network = PirateNet(2, 1).double()
    >>> x = torch.rand(50, 2, dtype=torch.float64)
    >>> fit_last_layer(network, x, 3 * x[:, :1] - x[:, 1:]) < 1e-12
    True
    """
    name, network = _pirate("fit_last_layer", model)
    key = f"{name}.last" if name else "last"
    dtype, count = dtype_of(model), network.last.numel()
    x = x.to(network.last)
    size = torch.eye(count, dtype=dtype, device=x.device).reshape(count, *network.last.shape)

    def values(weights: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(model, {key: weights}, (x,))
        return found

    with torch.no_grad(), evaluating(model):
        start = values(torch.zeros_like(network.last)).double()
        if y.shape != start.shape:
            raise ShapeError(
                f"fit_last_layer: the model maps points {tuple(x.shape)} to values {tuple(start.shape)}, so "
                f"y must have that shape, got {tuple(y.shape)}."
            )
        # All but the last layer is evaluated once.
        columns = torch.func.vmap(values)(size).double() - start
        wanted = y.to(start)
        weights = _least_squares(columns.reshape(count, -1).T, (wanted - start).reshape(-1), cutoff)
        network.last.copy_(weights.reshape(network.last.shape))
        missed = (values(network.last).double() - wanted).norm()
        return float(missed / wanted.norm()) if wanted.any() else float(missed)


def fit_to_start(model: nn.Module, problem: Problem, *, points: int = 4000, cutoff: float = 1e-6) -> float:
    """`fit_last_layer` to the initial data of a problem, repeated over time: physics-informed initialization.

    As a part of a recipe, ``Recipe(fit=fit_to_start)``, it is made before the first step.

    Parameters
    ----------
    model : module
        ``problem.build(...)`` with a `PirateNet` inside.
    problem : Problem
        With an `Initial` condition on the value of every component, none of them built into the model.
    points : int
        At which model and data are compared, spread over space and time, the same ones always.
    cutoff : float
        See `fit_last_layer`.

    Returns
    -------
    float
        What is missed, relatively.

    Raises
    ------
    ConfigError
        If the start is not known, or holds by construction: then there is nothing to fit.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.networks import FourierFeatures
    >>> problem = problems.Burgers()
    >>> model = problem.build(partial(FourierFeatures, features=32, network=PirateNet), hard=False)
    >>> fit_to_start(model, problem, points=400) < 0.1
    True
    """
    domain, outputs = problem.domain, problem.outputs
    known = zip(names_of(problem.conditions), problem.conditions, strict=True)
    starts = {c.component: (name, c.value) for name, c in known if isinstance(c, Initial) and c.order == 0}
    missing = [k for k in range(outputs) if k not in starts]
    if domain.time is None or missing:
        raise ConfigError(
            f"fit_to_start: {type(problem).__name__} does not say how component {missing[0]} starts. Take "
            "fit_to_equation, which needs no start, or data of your own, fit_last_layer(model, x, y)."
        )
    held = [name for name, _ in starts.values() if name in getattr(model, "satisfies", ())]
    if held:
        raise ConfigError(
            f"fit_to_start: {', '.join(held)} holds in this model by construction, so the last layer has "
            "nothing to learn from it. Take fit_to_equation, or a model without: hard=False in the recipe."
        )
    x = domain.interior(going_on(), points).to(_pirate("fit_to_start", model)[1].last.device)
    first = torch.cat([x[:, :-1], torch.full_like(x[:, -1:], domain.time[0])], dim=1)
    y = torch.stack([0 * x[:, 0] + value_at(starts[k][1], first) for k in range(outputs)], dim=1)
    return fit_last_layer(model, x, y[:, 0] if outputs == 1 else y, cutoff=cutoff)


def fit_to_equation(
    model: nn.Module,
    problem: Problem,
    *,
    points: int = 2000,
    weights: Mapping[str, float] | None = None,
    cutoff: float = 1e-6,
) -> float:
    """Set the last layer of a `PirateNet` so that a model solves a problem that is made linear.

    The equation, and conditions that are not built in, are linearized where this layer is 0: around what is
    built in, else around 0.  The loss of the linear problem is quadratic in the layer, and where it is least
    is found as in `fit_last_layer`.  Where the problem itself has a larger loss there than before, as of
    linear growth that it does not have, the layer is halved until it has not.  As a part of a recipe:
    ``Recipe(fit=fit_to_equation)``.

    Parameters
    ----------
    model : module
        ``problem.build(...)`` with a `PirateNet` inside.
    problem : Problem
        Its unknown coefficients are what they start from.
    points : int
        Of the equation, a tenth of them for each condition; the same ones always.
    weights : mapping, optional
        Of the terms of the loss, see `Residual`.
    cutoff : float
        See `fit_last_layer`.

    Returns
    -------
    float
        The root of the loss of the problem itself after the fit by that before it, where the layer is 0.

    Raises
    ------
    ConfigError
        If there is no `PirateNet` in the model, or more than one.

    Notes
    -----
    Source: the paper on PirateNets, physics-informed initialization by the solution of a linearized equation.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.networks import FourierFeatures
    >>> problem = problems.Poisson()
    >>> model = problem.build(partial(FourierFeatures, features=64, network=PirateNet)).double()
    >>> fit_to_equation(model, problem, points=500) < 0.1
    True
    """
    _, network = _pirate("fit_to_equation", model)
    streams = Streams(0)
    with streams.of("unknowns").applied():  # no numbers of others are used up
        loss = Residual(problem, sampler=Sobol(), points=points, weights=weights)
    loss.unknowns.to(network.last)
    with torch.no_grad():
        network.last.zero_()
    with _alone(network.last, [*model.parameters(), *loss.parameters()]), evaluating(model):
        batch = loss.draw(0, model, streams).to(network.last.device)
        terms = loss.terms(model, batch)
        missed = roots(terms)
        slopes = jacobian(loss, model, batch, terms, missed, [network.last]).double()
    before = float(total(terms).detach())
    if before == 0:
        return 0.0
    wanted = -torch.cat(list(missed.values())).detach().double()
    found = _least_squares(slopes, wanted, cutoff).reshape(network.last.shape)
    with torch.no_grad(), evaluating(model):
        for halvings in range(_HALVINGS):
            network.last.copy_(found / 2**halvings)
            after = float(total(loss.terms(model, batch)))
            if after < before:  # not so where it is not a number
                return math.sqrt(after / before)
        network.last.zero_()
    return 1.0


def _pirate(who: str, model: nn.Module) -> tuple[str, PirateNet]:
    """The one inside, and its name."""
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, PirateNet)]
    if len(found) != 1:
        raise ConfigError(f"{who}: {type(model).__name__} must have one PirateNet inside, got {len(found)}.")
    return found[0]


def _least_squares(columns: Tensor, wanted: Tensor, cutoff: float) -> Tensor:
    """The w with ``columns w`` nearest to ``wanted``, without singular values below the cut-off."""
    left, sizes, right = torch.linalg.svd(columns, full_matrices=False)
    kept = sizes > cutoff * sizes[0]
    inverse = torch.where(kept, 1 / torch.where(kept, sizes, 1), 0)
    found: Tensor = right.T @ (inverse * (left.T @ wanted))
    return found


@contextlib.contextmanager
def _alone(weight: nn.Parameter, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Of these parameters only the one has gradients."""
    before = [p.requires_grad for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_(p is weight)
        yield
    finally:
        for p, asked in zip(parameters, before, strict=True):
            p.requires_grad_(asked)
