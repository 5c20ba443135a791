"""Ordinary networks that teach a network of look-up tables (knowledge distillation, arXiv 1503.02531)."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from difflut.registry import register_teacher
from difflut.training.samples import Augmentation, Samples


class Teacher(nn.Module):
    """A network on inputs whose features have mean 0 and variance 1 over the training rows.

    Args:
        body: Network that takes inputs `(rows, channels, height, width)` where the rows are images, else `(rows,
            features)`.
        feature_shape: Shape of one row: `(height, width)` or `(height, width, channels)` for images.
    """

    def __init__(self, body: nn.Module, feature_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body, self.feature_shape = body, feature_shape
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def fit_scale(self, x: Tensor) -> None:
        """Measures mean and deviation over the rows: of all pixels of images together, of each feature otherwise."""
        dims = tuple(range(x.dim())) if self.is_image else (0,)
        self.mean = x.float().mean(dims)
        self.scale = x.float().std(dims).clamp(min=1e-6)

    @property
    def is_image(self) -> bool:
        return len(self.feature_shape) > 1

    def forward(self, x: Tensor) -> Tensor:
        """`(rows, *feature_shape)` to logits `(rows, classes)`; a GPU computes in bfloat16."""
        x = (x.float() - self.mean) / self.scale
        if self.is_image:
            x = (x if x.dim() == 4 else x.unsqueeze(3)).permute(0, 3, 1, 2)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            return self.body(x).float()


@register_teacher("convolutional")
def convolutional(feature_shape: tuple[int, ...], num_classes: int, width: int = 64) -> Teacher:
    """A small residual network for images: three stages, each of half the size and twice the width of the one before.

    Raises:
        ValueError: The rows are no images, or the width is not positive.
    """
    _check_sizes("convolutional", width=width)
    if len(feature_shape) < 2:
        raise ValueError(f"teachers.convolutional needs images, got rows of shape {feature_shape}; take teachers.dense")
    channels = feature_shape[2] if len(feature_shape) == 3 else 1
    stages: list[nn.Module] = [_convolution(channels, width)]
    for inputs, outputs in pairwise((width, 2 * width, 4 * width, 4 * width)):
        stages += [_convolution(inputs, outputs), nn.MaxPool2d(2), _Residual(outputs)]
    head = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4 * width, num_classes)]
    return Teacher(nn.Sequential(*stages, *head), feature_shape)


@register_teacher("dense")
def dense(feature_shape: tuple[int, ...], num_classes: int, width: int = 256, depth: int = 2) -> Teacher:
    """A perceptron of `depth` hidden layers.

    Raises:
        ValueError: The width or the depth is not positive.
    """
    _check_sizes("dense", width=width, depth=depth)
    sizes = [torch.Size(feature_shape).numel(), *[width] * depth]
    hidden = [nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.1)) for a, b in pairwise(sizes)]
    return Teacher(nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], num_classes)), feature_shape)


@register_teacher("trained")
def trained(
    network: Callable[..., Teacher],
    x: Tensor,
    y: Tensor,
    num_classes: int,
    *,
    epochs: int = 20,
    batch_size: int = 256,
    lr: float = 0.002,
    weight_decay: float = 0.05,
    label_smoothing: float = 0.1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Teacher:
    """Makes a teacher and trains it by AdamW, with one cycle of the rate.

    Args:
        network: Function that makes it from `feature_shape` and `num_classes`.
        x: `(rows, *feature_shape)`
        y: Class indices `(rows,)`.
        epochs: Number of epochs; with 0 it is made and not trained.
        batch_size: Rows in a step, two at least, as batch normalisation needs a variance.
        lr: The highest rate of the cycle.
        augmentation: Augmentation, as for the pupil (see `Samples`).

    Returns:
        The teacher in evaluation mode.

    Raises:
        ValueError: A number is out of range.
    """
    rules = {
        f"epochs={epochs} must be at least 0": epochs >= 0,
        f"batch_size={batch_size} must be at least 2": batch_size >= 2,
        f"lr={lr} must be above 0": lr > 0,
        f"weight_decay={weight_decay} must be at least 0": weight_decay >= 0,
        f"label_smoothing={label_smoothing} must lie between 0 and 1": 0 <= label_smoothing <= 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(f"teachers.trained: {rule}")
    device = torch.device(device)
    samples = Samples(x, y, augmentation, seed=seed, device=device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        teacher = network(feature_shape=tuple(x.shape[1:]), num_classes=num_classes).to(device)
        teacher.fit_scale(x.to(device))
        optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=weight_decay, fused=True)
        cycle = OneCycleLR(optimizer, lr, max(1, epochs * -(-len(y) // batch_size)))
        teacher.train()
        for epoch in range(epochs):
            samples.begin(epoch)
            for rows in samples.order(epoch).to(samples.x.device).split(batch_size):
                if len(rows) == 1:  # what a batch left over
                    continue
                logits, labels = teacher(samples.x[rows].to(device)), y[rows].to(device)
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(logits, labels, label_smoothing=label_smoothing).backward()
                optimizer.step()
                cycle.step()
    return teacher.eval()


def _check_sizes(name: str, **sizes: int) -> None:
    for size, value in sizes.items():
        if value < 1:
            raise ValueError(f"teachers.{name}: {size}={value} must be at least 1")


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
