"""Gradients of dense selection that are kept as two factors, because their product is all that an optimiser reads."""

from collections.abc import Callable

from torch import Tensor

from difflut.kernels import cpp
from difflut.kernels.bits import Bits
from difflut.kernels.by_tensor import ByTensor
from difflut.kernels.contract import Kept


class Factors:
    """A gradient `(2x - 1)^T grad` of dense selection, not multiplied out.

    Args:
        inputs: Packed bits of x, (features, words), as the kernels of its device keep them.
        grad: Gradient of the pins, (pins, batch), on a GPU padded.
    """

    def __init__(self, inputs: Kept, grad: Tensor) -> None:
        self.bits, self.batch, self.grad = inputs.data, inputs.batch, grad

    def dense(self) -> Tensor:
        """The gradient itself, (features, pins)."""
        if not self.bits.is_cuda:
            return cpp.dense_logits_gradient(Kept(self.bits, self.batch, "bits"), self.grad)
        signs = 2 * Bits(self.bits, self.batch).float() - 1
        return signs.t() @ self.grad[:, : self.batch].t()


class _Mailbox:
    """Where a parameter's factors wait for the optimizer."""

    is_open = True
    factors: Factors | None = None


# Of the parameters whose optimizer asked for factors; all others get a gradient where torch's users look for it.
_mailboxes: ByTensor[_Mailbox] = ByTensor()


def accept_factors(logits: Tensor) -> None:
    """Lets the next backward pass leave the gradient of these logits as factors instead of in `logits.grad`."""
    _mailboxes.set(logits, _Mailbox())


def left_as_factors(logits: Tensor, make: Callable[[], Factors]) -> bool:
    """Leaves the gradient as the factors that `make` gives, where an optimizer asks for them.

    Of several gradients only the first is left so, since factors cannot be added.

    Returns:
        Whether it was left.
    """
    mailbox = _mailboxes.get(logits)
    if mailbox is None or not mailbox.is_open:
        return False
    mailbox.is_open, mailbox.factors = False, make()
    return True


def has_factors(logits: Tensor) -> bool:
    """Whether the gradient of these logits was left as factors."""
    mailbox = _mailboxes.get(logits)
    return mailbox is not None and mailbox.factors is not None


def taken_factors(logits: Tensor) -> Factors | None:
    """The factors that were left, if any; more are not accepted until they are asked for again."""
    mailbox = _mailboxes.pop(logits)
    return None if mailbox is None else mailbox.factors
