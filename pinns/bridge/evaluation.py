"""What a DeepXDE problem says of a network: residuals of its equation and errors of its conditions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.errors import ConfigError
from sciml.kernels.derivatives import MultiIndex
from sciml.kernels.partials import Partials
from sciml.pinns.bridge.derivatives import Distinct, Missing, Served, Unserved, agree, recorded
from sciml.pinns.bridge.points import Array, Points, conditions_at, installed
from sciml.pinns.deepxde_import import imported, precision

logger = logging.getLogger(__name__)

Ask = Callable[[Tensor, Any], list[Tensor]]
"""From points (rows, dim) and outputs (rows, outputs) to what is wrong there."""

KERNELS, AUTOGRAD = "kernels", "autograd"


class Evaluation:
    """Calls the functions of a data object on a network, with derivatives from where they are exact and fast.

    Parameters
    ----------
    data : dde.data.PDE
    kernels : bool
        Whether `sciml.kernels` may serve derivatives; without, DeepXDE differentiates itself.

    Attributes
    ----------
    mode : str, optional
        Where derivatives come from, once it is known: ``kernels`` or ``autograd``.
    """

    def __init__(self, data: Any, *, kernels: bool) -> None:
        self.deepxde: Any = imported()
        self.data = data
        self.kernels = kernels
        self.forget()

    def forget(self) -> None:
        """Decide anew, for another network."""
        own = self.kernels and self.deepxde.config.autodiff == "reverse"
        self.mode: str | None = None if own else AUTOGRAD
        self._wanted: set[MultiIndex] = set()
        self._explicit = False
        self._partials: Partials | None = None

    def errors(self, model: nn.Module, points: Points, *, test: bool = False) -> list[Tensor]:
        """Each residual of the equation at its rows, then each condition's error at its own."""
        data = self.data
        dtype, x = self._inputs(model, points)
        rows = points.array(dtype)
        losses = data.losses_test if test else data.losses_train

        def ask(inputs: Tensor, outputs: Any) -> list[Tensor]:
            with installed(data, points, rows), conditions_at(data, points, x):
                aux = [outputs[1]] if isinstance(outputs, tuple) else None
                values = outputs[0] if isinstance(outputs, tuple) else outputs
                network = SimpleNamespace(auxiliary_vars=_like(points.auxiliary, x))
                found = losses(None, values, _itself, inputs, SimpleNamespace(net=network), aux=aux)
            return list(found)

        return self._call(model, x, ask, points.distinct(dtype, x.device))

    def residuals(self, model: nn.Module, rows: Tensor) -> list[Tensor]:
        """Each residual of the equation at these rows alone, without gradients."""
        data = self.data
        arguments: list[Any] = []
        if data.auxiliary_var_fn is not None:
            arguments = [_like(data.auxiliary_var_fn(rows.cpu().numpy()), rows)]

        def ask(inputs: Tensor, outputs: Any) -> list[Tensor]:
            found = data.pde(inputs, outputs, *arguments)
            return list(found) if isinstance(found, list | tuple) else [found]

        return [value.detach() for value in self._call(model, rows, ask)]

    def _inputs(self, model: nn.Module, points: Points) -> tuple[torch.dtype, Tensor]:
        dtype = dtype_of(model)
        return dtype, points.tensor(dtype, next(model.parameters()).device)

    def _call(self, model: nn.Module, x: Tensor, ask: Ask, distinct: Distinct | None = None) -> list[Tensor]:
        outside = torch.is_grad_enabled()
        # Derivatives need graphs, whoever asks.
        with torch.enable_grad(), precision(x.dtype, x.device):
            if self.mode is None:
                self._decide(model, x, ask, distinct)
            found: list[Tensor] | None = None
            if self.mode == KERNELS:
                try:
                    found = self._served(model, x, ask, distinct)[1]
                except Unserved:
                    self._give_up("the equation asks for something else than before")
            if found is None:
                found = self._plain(model, x, ask)[1]
        return found if outside else [value.detach() for value in found]

    def _plain(self, model: nn.Module, x: Tensor, ask: Ask) -> tuple[Tensor, list[Tensor]]:
        """Outputs and errors with DeepXDE's derivatives."""

        def network(points: Tensor) -> Tensor:
            value: Tensor = model(points)
            return value.reshape(-1, 1) if value.ndim == 1 else value

        inputs = x.detach().clone().requires_grad_()
        outputs = network(inputs)
        try:
            if self.deepxde.config.autodiff == "forward":
                return outputs, ask(inputs, (outputs, network))
            return outputs, ask(inputs, outputs)
        finally:
            self.deepxde.grad.clear()

    def _served(
        self, model: nn.Module, x: Tensor, ask: Ask, distinct: Distinct | None
    ) -> tuple[Served, list[Tensor]]:
        """Derivatives and errors with ours; what is missing in the pass is known in the next one."""
        while True:
            if self._partials is None:
                self._partials = Partials(self._wanted, x.shape[1])
            served = Served(model, x, self._partials, explicit=self._explicit, distinct=distinct)
            try:
                with served.serving(self.deepxde):
                    return served, ask(served.inputs, served.outputs)
            except Missing as missing:
                if missing.index is None:
                    self._explicit = True
                else:
                    self._wanted.add(missing.index)
                    self._partials = None

    def _decide(self, model: nn.Module, x: Tensor, ask: Ask, distinct: Distinct | None) -> None:
        """Compare both ways once: networks may mix rows, equations may differentiate by themselves."""
        theirs: list[Tensor] = []
        with recorded(self.deepxde, theirs):
            outputs, errors = self._plain(model, x, ask)
        try:
            served, own = self._served(model, x, ask, distinct)
        except Exception as error:  # the same call has just worked without kernels
            self._give_up(f"{type(error).__name__}: {error}")
            return
        if agree([served.outputs, *served.results, *own], [outputs, *theirs, *errors]):
            self.mode = KERNELS
        else:
            self._give_up(
                "the network does not act on every point by itself, or the equation is differentiated"
            )

    def _give_up(self, reason: str) -> None:
        logger.info("derivatives by autograd: %s", reason)
        self.mode = AUTOGRAD

    # State: a resumed run takes the same way.

    def state_dict(self) -> dict[str, Any]:
        """What has been decided."""
        wanted = [list(index) for index in sorted(self._wanted)]
        return {"mode": self.mode, "wanted": wanted, "explicit": self._explicit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.mode, self._explicit = state["mode"], state["explicit"]
        self._wanted = {tuple(index) for index in state["wanted"]}
        self._partials = None


def check_data(data: Any) -> None:
    """Raise for data objects whose losses are not those of equation and conditions at points.

    Raises
    ------
    ConfigError
        In one sentence.
    """
    deepxde: Any = imported()
    kinds = deepxde.data.PDE, (deepxde.data.IDE, deepxde.data.FPDE)
    if not isinstance(data, kinds[0]) or isinstance(data, kinds[1]):
        raise ConfigError(
            "from_deepxde: expected a dde.data.PDE or dde.data.TimePDE, got "
            f"{type(data).__module__}.{type(data).__name__}."
        )
    if data.pde is None and not data.bcs:
        raise ConfigError("from_deepxde: the data have neither an equation nor conditions.")


def _itself(_: Tensor, error: Tensor) -> Tensor:
    """As loss function of DeepXDE: the errors at the points."""
    return error


def _like(values: Array | None, x: Tensor) -> Tensor | None:
    return None if values is None else torch.as_tensor(values).to(x)
