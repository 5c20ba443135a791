"""Training rows as each epoch sees them."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

AT_ONCE = 4096  # rows, which bounds the working memory

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class Samples:
    """Training rows, which an augmentation changes at the start of each epoch, and the logits of a teacher for them.

    What an epoch sees follows from the seed and its number alone.

    Args:
        x: Inputs `(rows, *features)`.
        y: Class indices `(rows,)`.
        augmentation: Changes inputs `(rows, *features)` with random numbers of a generator on the CPU.
        teacher: Function that gives the logits `(rows, classes)` of inputs.
        seed: Seed of order and augmentation.
        device: Device on which rows are augmented and taught.
        weights: Weight of each row `(rows,)`; None weighs all alike.

    Attributes:
        x: Inputs as the present epoch sees them.
        taught: The teacher's logits of the present inputs; None without a teacher.
        version: Grows whenever `x` has changed.

    Raises:
        ValueError: There are no rows, or not as many labels or weights.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        augmentation: Augmentation | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        weights: Tensor | None = None,
    ) -> None:
        if len(x) != len(y) or not len(x):
            raise ValueError(f"got {len(x)} inputs and {len(y)} labels; their numbers must be equal and not 0")
        if weights is not None and weights.shape != y.shape:
            raise ValueError(f"got {len(x)} inputs and weights of shape {tuple(weights.shape)}; give one for each row")
        self.x, self.y, self._original, self.weights = x, y, x, weights
        self.augmentation, self.teacher, self.seed, self.device = augmentation, teacher, seed, device
        self.taught: Tensor | None = None
        self.version = 0
        if augmentation:
            augmentation(
                x[:1].to(device), self.generator(0)
            )  # an augmentation that does not fit fails here, before any work

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def digest(self) -> str:
        """A digest of rows, labels and weights before any augmentation; others, or another order, have another one."""
        found = hashlib.blake2b(digest_size=16)
        for part in (self._original, self.y) if self.weights is None else (self._original, self.y, self.weights):
            array = part.cpu().contiguous().numpy()
            found.update(f"{array.dtype} {array.shape} ".encode())
            found.update(array.data)
        return found.hexdigest()

    def order(self, epoch: int) -> Tensor:
        """The order in which an epoch visits the rows."""
        return torch.randperm(len(self), generator=self.generator(epoch))

    def begin(self, epoch: int) -> None:
        """Makes the inputs of an epoch."""
        if self.augmentation:
            self.x = self.augmented(epoch)[0]
            self.version += 1
        if self.teacher and (self.augmentation or self.taught is None):
            with torch.no_grad():
                self.taught = torch.cat([self.teacher(rows) for rows in self._stretches(self.x)]).to(self.y.device)

    def augmented(self, epoch: int, copies: int = 1, beside: bool = False) -> tuple[Tensor, Tensor]:
        """Inputs and labels: `copies` times with different changes of an epoch, or once without an augmentation.

        Args:
            beside: Whether the copies come beside the rows as they are.
        """
        if not self.augmentation:
            return self._original, self.y
        # Random numbers other than those of the orders, which follow from the same seed.
        generator, device = self.generator(epoch + 500_000), self._original.device
        stretches = (rows for _ in range(copies) for rows in self._stretches(self._original))
        changed = [self.augmentation(rows, generator).to(device) for rows in stretches]
        return torch.cat([self._original, *changed] if beside else changed), self.y.repeat(copies + beside)

    def targets(self, rows: Tensor | slice) -> tuple[Tensor, ...]:
        """The arguments of the loss besides logits: class indices, then a teacher's logits and weights if there are."""
        return tuple(each[rows] for each in (self.y, self.taught, self.weights) if each is not None)

    def _stretches(self, x: Tensor) -> Iterator[Tensor]:
        return (rows.to(self.device) for rows in x.split(AT_ONCE))

    def generator(self, epoch: int) -> torch.Generator:
        """A generator that follows from the seed and the epoch alone."""
        # Epochs of two seeds are a million apart, so they do not share an order.
        return torch.Generator().manual_seed((1_000_003 * self.seed + epoch) % 2**32)
