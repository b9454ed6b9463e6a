"""What an operator promises; the contract tests hold it to that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Properties:
    """Promises of an operator class, its class attribute ``properties``.

    Parameters
    ----------
    needs_grid : bool
        Fields live on regular grids, ``(batch, channel, *space)``; otherwise on clouds of points,
        ``(batch, point, channel)``, in whose order the operator is equivariant.
    periodic : bool
        Only periodic domains make sense.
    resolution_bound : bool
        Trained weights serve one resolution only; otherwise outputs on finer grids converge.
    linear : bool
        The map is linear in its input field, so `Surrogate.linear_operator` may be offered.
    exports : bool
        ``torch.export`` gives a graph without complex tensors that equals the module.

    Notes
    -----
    Beside ``properties`` an operator class has a static method ``small(rank, in_channels, out_channels)``
    that makes a tiny fast instance for tests, and it may have

    - ``requires: tuple[str, ...]``, the extras that this instance cannot do without (such as
      ``"coordinates"``),
    - ``check_grid(shape)``, which refuses a training grid on which parameters would lie idle.
    """

    needs_grid: bool
    periodic: bool
    resolution_bound: bool
    linear: bool
    exports: bool
