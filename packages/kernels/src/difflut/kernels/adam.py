"""Adam and AdamW with one kernel for all parameters."""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from difflut.kernels import cpp, cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.contract import Backend
from difflut.kernels.factors import accept_factors, has_factors, taken_factors
from difflut.kernels.facts import known, note
from difflut.kernels.signatures import Argument

MOST_TENSORS = 64  # of one step on a GPU, as kMostTensors in adam.cu
OPTIONS = ("amsgrad", "maximize")  # options of torch's Adam that the kernels do not have


class Adam(torch.optim.Adam):
    """`torch.optim.AdamW`, the same to rounding and with the same state, whose step is one kernel.

    Without weight decay, as by default, it is `torch.optim.Adam`. Parameters that need no gradient stay as they are.

    A step can be captured in a CUDA graph, or noted in a `Recording`: the learning rate lies in memory that it reads,
    on a GPU as the number of steps does. After changing the rate of such a step, call `refresh`.

    Args:
        params: Parameters, as for `torch.optim.Adam`.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the root of the mean square.
        weight_decay: Share of each weight, times the rate, that a step takes off: decoupled weight decay
            (arXiv 1711.05101).

    Attributes:
        takes_factors: Whether logits of a dense selection (`select`, `learned_lookup`) may come with their gradient as
            two factors, which are multiplied where each weight is read and written. It is quicker, but such parameters
            have no `grad` that could be clipped, logged or summed over processes.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.takes_factors = False
        super().__init__(params, lr, betas, eps, weight_decay, fused=True, decoupled_weight_decay=True)
        self._on_device: dict[int, _DeviceState] = {}
        self._rates: dict[int, ctypes.Array[ctypes.c_double]] = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters; see `torch.optim.Optimizer.add_param_group`."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.dim() == 2 and backend_for(p) is cuda:
                note(p, "best_inputs", cuda.BestInputs())  # from now on this optimizer keeps them up to date

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients; where it `takes_factors`, the next ones may come as such."""
        if not set_to_none:
            super().zero_grad(set_to_none)
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                if self.takes_factors and p.dim() == 2 and backend_for(p) in (cpp, cuda):
                    accept_factors(p)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step; see `torch.optim.Optimizer.step`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        backends = [_backend_of(group) for group in self.param_groups]
        if None in backends:
            cpp.cannot_repeat()  # as the rate would stay
            self._multiply_out()
            self._separate()
            super().step()
            for group in self.param_groups:
                increment_version(group["params"])  # torch's fused step does not count its writes
            return loss
        for number, (group, backend) in enumerate(zip(self.param_groups, backends, strict=True)):
            if backend is cuda:
                self._step_on_gpu(number, group)
            else:
                self._step_on_cpu(number, group)
        return loss

    def refresh(self) -> None:
        """Puts the present learning rates where steps read them."""
        for number, state in self._on_device.items():
            state.set_rate(self.param_groups[number]["lr"])
        for number, rate in self._rates.items():
            rate[0] = float(self.param_groups[number]["lr"])

    def _multiply_out(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if (factors := taken_factors(p)) is not None:
                    p.grad = factors.dense() if p.grad is None else p.grad + factors.dense()

    def _separate(self) -> None:
        """Gives each parameter a count of steps of its own again, as torch's step expects."""
        for number in self._on_device:
            for p in self.param_groups[number]["params"]:
                if "step" in self.state[p]:
                    self.state[p]["step"] = self.state[p]["step"].clone()
        self._on_device.clear()

    def _step_on_gpu(self, number: int, group: dict[str, Any]) -> None:
        parameters = _learning(group)
        device = self._on_device.get(number)
        if device is None or any(self.state[p].get("step") is not device.steps for p in parameters):
            device = self._on_device[number] = self._device_state(group)
        if not torch.cuda.is_current_stream_capturing():
            device.set_rate(group["lr"])
        constants = _constants(group)
        rows, with_keys = [], []
        for p in parameters:
            state, factors = self.state[p], taken_factors(p)
            best: cuda.BestInputs | None = known(p, "best_inputs")
            if factors is not None:
                if best is None:
                    best = cuda.BestInputs()
                    note(p, "best_inputs", best)
                if best.keys is None:
                    best.keys = p.new_empty(p.shape[1], dtype=torch.int64)
            if best is not None and best.keys is not None:
                best.keys.zero_()
            if factors is None:
                assert p.grad is not None  # as it is one of those that learn
                rows.append((p, p.grad.contiguous(), state["exp_avg"], state["exp_avg_sq"]))
                with_keys += [(p, best)] if best is not None and best.keys is not None else []
            else:
                gradient = factors.bits, factors.bits.shape[1], factors.grad, factors.grad.shape[1], factors.batch
                scalars: tuple[Tensor | float, ...] = device.rate, device.powers, *constants
                moments = state["exp_avg"], state["exp_avg_sq"]
                cuda.launch(
                    "select_adam", p, *moments, *p.shape, *gradient, *scalars, None if best is None else best.keys
                )
        tensors = torch.tensor([[*(t.data_ptr() for t in row), row[0].numel()] for row in rows], dtype=torch.int64)
        on_device = device.rate, device.steps, device.powers, cuda.ticket(device.rate.device)
        cuda.launch("adam", tensors, len(rows), *on_device, *constants)
        for p, best in with_keys:
            best.find(p)

    def _device_state(self, group: dict[str, Any]) -> "_DeviceState":
        parameters = _learning(group)
        steps = self.state[parameters[0]].get("step", torch.zeros(()))
        device = _DeviceState(steps.to(parameters[0].device, torch.float32), group["betas"])
        for p in parameters:
            self._prepare(p)
            self.state[p]["step"] = device.steps
        return device

    def _prepare(self, p: Tensor) -> None:
        state = self.state[p]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].contiguous() if name in state else torch.zeros_like(p)

    def _step_on_cpu(self, number: int, group: dict[str, Any]) -> None:
        rate = self._rates.setdefault(number, (ctypes.c_double * 1)())
        rate[0] = float(group["lr"])
        scalars: tuple[Argument, ...] = rate, *_constants(group)
        rows, parameters = [], _learning(group)
        counts = {id(self.state[p]["step"]) for p in parameters if "step" in self.state[p]}
        if len(counts) < len(parameters):  # there are none yet, or one for all in a state from a GPU
            for p in parameters:
                self.state[p]["step"] = self.state[p].get("step", torch.zeros(())).clone()
        for p in parameters:
            self._prepare(p)
            state, factors = self.state[p], taken_factors(p)
            moments = state["exp_avg"], state["exp_avg_sq"], state["step"]
            if factors is None:
                assert p.grad is not None  # as it is one of those that learn
                rows.append((p, p.grad.contiguous(), *moments))
            else:
                cpp.select_adam(factors.bits, factors.grad, p, moments, scalars)
        cpp.adam(rows, scalars)


def _backend_of(group: dict[str, Any]) -> Backend | None:
    """The back end that can do the step of a group, if one can."""
    parameters = _learning(group)
    coupled = group["weight_decay"] and not group["decoupled_weight_decay"]  # in a state of torch's Adam
    if coupled or any(group[option] for option in OPTIONS) or not all(map(_has_gradient, parameters)):
        return None
    backends = {backend_for(p) for p in parameters}
    if backends == {cpp} or (backends == {cuda} and len(parameters) <= MOST_TENSORS):
        return backends.pop()
    return None


def _learning(group: dict[str, Any]) -> list[Tensor]:
    return [p for p in group["params"] if p.requires_grad]


def _constants(group: dict[str, Any]) -> tuple[float, ...]:
    return *group["betas"], group["eps"], group["weight_decay"]


def _has_gradient(p: Tensor) -> bool:
    return has_factors(p) == (p.grad is None) and p.is_contiguous()


class _DeviceState:
    """The scalars of a parameter group, on its device."""

    def __init__(self, steps: Tensor, betas: tuple[float, float]) -> None:
        self.steps = steps
        next_step = steps.double() + 1
        self.powers = torch.stack([beta**next_step for beta in betas])
        self.rate = torch.zeros((), dtype=torch.float64, device=steps.device)
        self._rate: float | None = None

    def set_rate(self, rate: float) -> None:
        if rate != self._rate:
            self._rate = rate
            self.rate.fill_(rate)
