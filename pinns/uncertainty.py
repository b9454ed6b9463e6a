"""How well measurements determine the unknowns of an inverse problem: standard errors from curvature."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.errors import ConfigError
from sciml.jacobian import jacobian
from sciml.objective import Term, roots
from sciml.optimizers.linearization import by_rows
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.losses.loss import Loss
from sciml.pinns.measurements import PointData
from sciml.pinns.residual import Residual
from sciml.pinns.unknowns import errors_of, functions_of, numbers_of
from sciml.streams import Streams

_PLACES = 200  # at which the standard errors of a function are averaged
_BARELY = 0.5  # `Uncertainty.determined` below which there is a warning: in practice it is near 0 or 1


@dataclass(frozen=True)
class Uncertainty:
    """Unknowns with what errors of measurement make of them.

    Attributes
    ----------
    values : mapping
        The unknown numbers.
    errors : mapping
        Their standard errors.
    covariance : (numbers, numbers)
    bands : mapping of names to (m,)
        Standard errors of unknown functions at the points that were asked for.
    noise : mapping
        Standard deviation of the errors of each set of measurements: as given (its root mean square), or
        found from the misfit.
    determined : mapping
        For each number 1 if the residuals hold it, and 0 if the network and other unknowns can make up for
        any change, so that nothing but the belief about them does.

    Examples
    --------
    >>> known = Uncertainty({"k": 2.0}, {"k": 0.1}, torch.tensor([[0.01]]), {}, {}, {"k": 1.0})
    >>> [round(end, 3) for end in known.interval("k")]
    [1.804, 2.196]
    """

    values: Mapping[str, float]
    errors: Mapping[str, float]
    covariance: Tensor
    bands: Mapping[str, Tensor]
    noise: Mapping[str, float]
    determined: Mapping[str, float]

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Where a number lies with this probability, if errors are normal.

        Raises
        ------
        ConfigError
            For an unknown name or a level outside (0, 1).
        """
        if name not in self.values or not 0 < level < 1:
            raise ConfigError(
                f"Uncertainty: needs one of {', '.join(self.values)} and a level in (0, 1), got {name!r} and "
                f"{level}."
            )
        half = math.sqrt(2) * float(torch.special.erfinv(torch.tensor(level, dtype=torch.float64)))
        return self.values[name] - half * self.errors[name], self.values[name] + half * self.errors[name]


def uncertainty_of(
    model: nn.Module, objective: Residual, *, at: Tensor | None = None, spread: float = 1.0
) -> Uncertainty:
    r"""Standard errors of the unknowns that a training found, to first order in the errors of measurement.

    At a minimum of ``r @ r`` with the Jacobian J by all weights and unknowns, errors e of the measurements
    move these by ``(J^T J + mu)^{-1} J^T e``.  With S the variances of e, 0 in the rows of equation,
    conditions and beliefs, the covariance is

    .. math:: (J^T J + \mu)^{-1} J^T S J (J^T J + \mu)^{-1}.

    It holds for the weights of the loss as they are, also where they are not the inverse variances.  The
    damping mu keeps weights that no residual holds where they are, as training does: it is the belief that
    they are within ``spread`` of what was found.  All this is about errors of measurement alone: a wrong
    equation, a training that has not arrived, a network too small or a `Prior` that is wrong add to it
    unseen.

    Parameters
    ----------
    model : module
        The trained one, in float64.
    objective : Residual
        Its loss, with the unknowns.
    at : (m, dim), optional
        Where errors of unknown functions are wanted.
    spread : float, positive
        Standard deviation of that belief about each weight, and each unknown as it is trained.

    Raises
    ------
    ConfigError
        If nothing is unknown, nothing was measured, the model is not in float64, or the loss is not made of
        squares.

    Warns
    -----
    UserWarning
        If the data do not determine an unknown number: network and other unknowns make up for it.

    Notes
    -----
    Source: Seber and Wild, *Nonlinear Regression* (1989), section 2.1.2, for linearized least squares.  One
    QR decomposition of J: its cost grows with points times the square of the number of weights.
    """
    if not objective.unknowns.names:
        raise ConfigError(f"uncertainty_of: nothing is unknown in {type(objective.problem).__name__}.")
    if dtype_of(model) != torch.float64:
        raise ConfigError(
            f"uncertainty_of: needs a model in float64, got {dtype_of(model)}; use model.double()."
        )
    loss = objective.aside()
    batch = loss.draw(0, model, Streams(0)).to(next(model.parameters()).device)
    terms = loss.terms(model, batch)
    residuals = roots(terms)
    every = [*(p for p in model.parameters() if p.requires_grad), *loss.parameters()]
    slopes = jacobian(loss, model, batch, terms, residuals, every)
    own = dict(zip(residuals, slopes.split([len(r) for r in residuals.values()]), strict=True))
    sets = {name: c for name, c in loss.conditions.items() if isinstance(c, PointData) and name in own}
    if not sets:
        raise ConfigError(f"uncertainty_of: nothing was measured in {type(objective.problem).__name__}.")
    damping = _variance(sets, terms) / spread**2
    triangle = _triangle(slopes, damping)
    deviations = {name: _deviations(c, own[name], terms[name], triangle) for name, c in sets.items()}

    wanted, sizes = _gradients(loss, every, at)
    pulls = torch.linalg.solve_triangular(triangle.T, wanted.T, upper=False)
    lifted = torch.linalg.solve_triangular(triangle, pulls, upper=True)
    moved = torch.cat([own[name] @ lifted * deviations[name][:, None] for name in sets])
    covariance = moved.T @ moved
    numbers = numbers_of(loss.coefficients)
    errors = covariance.diagonal().sqrt().split(sizes)
    k = len(numbers)
    # The share of what holds a number that is not the damping.
    held = damping * lifted.square().sum(0) / pulls.square().sum(0)
    determined = dict(zip(numbers, (1 - held[:k]).tolist(), strict=True))
    _warn(determined)
    return Uncertainty(
        values=numbers,
        errors=dict(zip(numbers, errors[0].tolist(), strict=True)),
        covariance=covariance[:k, :k],
        bands=dict(zip(functions_of(loss.coefficients) if at is not None else (), errors[1:], strict=True)),
        noise={
            name: float((s / terms[name].factor()).square().mean().sqrt()) * _unit(sets[name])
            for name, s in deviations.items()
        },
        determined=determined,
    )


@dataclass(frozen=True)
class Finding:
    """What a training found of one unknown.

    Attributes
    ----------
    value : float, optional
        Of a number.
    standard_error : float, optional
        Of a function the root of its mean square over the domain.  None where it cannot be told.
    relative_error : float, optional
        Against the truth, where that is known; of a function in L2.
    determined : bool, optional
        Of a number: whether the data hold it, or nothing but where it was.  None where it cannot be told.
    """

    value: float | None = None
    standard_error: float | None = None
    relative_error: float | None = None
    determined: bool | None = None


def findings(model: nn.Module, objective: Residual | Loss) -> dict[str, Finding]:
    """All that is known of each unknown after a training, by name: see `uncertainty_of`.

    Parameters
    ----------
    model : module
        The trained one.
    objective : Residual or Loss
        What it was trained by.

    Warns
    -----
    UserWarning
        If the data do not determine a number, or standard errors cannot be told, and why.

    Examples
    --------
    >>> from sciml.pinns import Attempt, Recipe
    >>> from sciml.pinns.problems.inverse import DiffusionCoefficient
    >>> attempt = Attempt(DiffusionCoefficient(measurements=9), Recipe(points=10))
    >>> found = findings(attempt.model, attempt.objective)  # before a step: a is 1, not 1 + sin(2 pi x) / 2
    >>> round(found["a"].relative_error, 2)
    0.33
    """
    problem, coefficients = objective.problem, objective.coefficients
    if not coefficients:
        return {}
    functions = functions_of(coefficients)
    known = None
    try:
        if not isinstance(objective, Residual):
            raise ConfigError(f"{type(objective).__name__} has no residuals of measurements.")
        places = problem.domain.interior(kronecker, _PLACES) if functions else None
        known = uncertainty_of(model, objective, at=places)
    except ConfigError as reason:
        warnings.warn(f"no standard errors: {reason}", stacklevel=2)
    values = numbers_of(coefficients)
    errors = {} if known is None else {**known.errors, **{n: _size(b) for n, b in known.bands.items()}}
    shares = {} if known is None else known.determined
    off = errors_of(coefficients, problem.truth, problem.domain)
    return {
        name: Finding(
            values.get(name),
            errors.get(name),
            off.get(name),
            shares[name] > _BARELY if name in shares else None,
        )
        for name in coefficients
    }


def _size(band: Tensor) -> float:
    return float(band.square().mean().sqrt())


def _variance(sets: Mapping[str, PointData], terms: Mapping[str, Term]) -> float:
    """Of an error in a row of the loss, in the mean over all measurements, as far as the misfit tells."""
    found = [
        terms[name].factor().detach().square()
        * (1.0 if c.noise is not None else terms[name].values.detach().square().mean())
        for name, c in sets.items()
    ]
    return float(torch.cat(found).mean())


def _unit(condition: PointData) -> float:
    """What a residual of 1 is in the units of the values, in the mean."""
    given = condition.deviations
    return 1.0 if given is None else float(given.square().mean().sqrt())


def _triangle(slopes: Tensor, damping: float) -> Tensor:
    """R (P, P) with ``R^T R = J^T J + mu``, without the squares that would lose half of the digits."""
    below = math.sqrt(damping) * torch.eye(slopes.shape[1], dtype=slopes.dtype, device=slopes.device)
    triangle: Tensor = torch.linalg.qr(torch.cat([slopes, below]), mode="r").R
    return triangle


def _deviations(condition: PointData, slopes: Tensor, term: Term, triangle: Tensor) -> Tensor:
    """Of the errors in a set's rows of the loss, (n,): its residuals are in units of a given noise."""
    factor = term.factor().detach()
    if condition.noise is not None:
        return factor
    # The network has used up as many of the errors as the leverages of the rows add up to.
    leverage = torch.linalg.solve_triangular(triangle.T, slopes.T, upper=False).square().sum()
    left = max(1.0, len(slopes) - float(leverage))
    return factor * (term.values.detach().square().sum() / left).sqrt()


def _gradients(loss: Residual, every: list[nn.Parameter], at: Tensor | None) -> tuple[Tensor, list[int]]:
    """Those of the numbers, then of the functions at the points, (wanted, P); and how many each has."""
    known = loss.coefficients
    numbers = [value for value in known.values() if isinstance(value, Tensor)]
    parts = [torch.stack(numbers)] if numbers else [torch.zeros(0, dtype=torch.float64)]
    if at is not None:
        parts += [function(at.to(every[0])) for function in functions_of(known).values()]
    rows = [
        by_rows(part, every) if len(part) else torch.zeros(0, sum(p.numel() for p in every)).to(every[0])
        for part in parts
    ]
    return torch.cat(rows).detach(), [len(part) for part in parts]


def _warn(determined: Mapping[str, float]) -> None:
    lost = [name for name, share in determined.items() if not share > _BARELY]
    if lost:
        warnings.warn(
            f"the data do not determine {', '.join(lost)}: the network and other unknowns can make up for "
            "any change of it. Measure something else, know more (conditions, a Prior), or leave it out.",
            stacklevel=3,
        )
