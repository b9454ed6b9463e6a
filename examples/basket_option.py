"""A European call on a basket of 100 correlated assets: price, deltas, gamma and vega, beside Monte Carlo.

    python examples/basket_option.py [ASSETS]

The network learns what a formula for the price misses, the sum of the prices taken as lognormal; so that
formula is the yardstick.  Derivatives of the network are the Greeks, at any number of markets at once; Monte
Carlo gives one market at a time, with a standard error.
"""

import sys

import torch
from torch import Tensor

from sciml import pinns
from sciml.pinns.monte_carlo import beside
from sciml.pinns.problems.greeks import Greeks, greeks, greeks_by_paths


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the markets, relative to the length of what is wanted."""
    difference, size = ((v.detach().reshape(len(v), -1)).norm(dim=1) for v in (found - wanted, wanted))
    return float((difference / size).max())


def greeks_apart(found: Greeks, wanted: Greeks) -> dict[str, float]:
    """`apart` for each of the Greeks."""
    return {name: apart(getattr(found, name), getattr(wanted, name)) for name in ("delta", "gamma", "vega")}


def main(
    dim: int = 100,
    recipe: pinns.Recipe | None = None,
    markets: int = 5,
    accuracy: float = 5e-4,
    paths: int = 100_000,
) -> dict[str, dict[str, float]]:
    """Train, print prices and Greeks, and return the largest differences of network and formula."""
    problem = pinns.problems.Basket(dim=dim)
    model = pinns.solve(problem, recipe=recipe).model

    generator = torch.Generator().manual_seed(1)
    x = problem.domain.interior(lambda n, k: torch.rand(n, k, generator=generator).double(), markets)
    x[:, -1] = problem.end  # a year before it expires
    rows = beside(problem, model, x, accuracy)
    print("network   Monte Carlo           seconds of each")
    for row in rows:
        seconds = f"{row.network_seconds:.1e} {row.reference_seconds:.1e}"
        print(f"{row.network:.5f}   {row.reference:.5f} +- {3 * row.standard_error:.5f}   {seconds}")

    known, error = greeks_by_paths(problem, x, paths=paths, control=problem.geometric)
    prices = torch.tensor([row.reference for row in rows]).double()
    found = {
        name: {"price": apart(u(x), prices), **greeks_apart(greeks(problem, u, x), known)}
        for name, u in (("network", model), ("lognormal sum", problem.matched))
    }
    errors = {name: float((getattr(error, name) / getattr(known, name)).abs().max()) for name in vars(known)}
    found["Monte Carlo"] = {"price": max(row.standard_error / row.reference for row in rows), **errors}
    print("\nlargest difference from Monte Carlo, and its standard error")
    for name, of_all in found.items():
        print(f"{name:>14}", *(f"{key} {100 * value:.2f} %" for key, value in of_all.items()), sep="   ")
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
