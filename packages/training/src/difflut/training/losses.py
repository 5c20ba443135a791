"""Losses: of logits and class indices and, where there is one, a teacher's logits."""

import torch.nn.functional as F
from torch import Tensor

from difflut.registry import register_loss


@register_loss("cross_entropy")
def cross_entropy(logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy; of each label, a share of `label_smoothing` is spread evenly over all classes.

    Raises:
        ValueError: The share is not between 0 and 1.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} must lie between 0 and 1")
    return F.cross_entropy(logits, y, label_smoothing=label_smoothing)


@register_loss("distillation")
def distillation(logits: Tensor, y: Tensor, taught: Tensor, weight: float = 0.7, temperature: float = 3.0) -> Tensor:
    """Cross entropy with the labels and, with `weight`, with what a teacher says (arXiv 1503.02531).

    `(1 - weight) CE(y, logits) + weight T**2 KL(softmax(taught / T) || softmax(logits / T))`

    Args:
        logits: (batch, classes)
        y: (batch,)
        taught: The teacher's logits. (batch, classes)
        weight: Weight of the teacher's part, from 0 to 1.
        temperature: T, which softens both distributions.

    Raises:
        ValueError: The weight or the temperature is out of range.
    """
    if not 0 <= weight <= 1 or not temperature > 0:
        raise ValueError(f"needs a weight from 0 to 1 and a temperature above 0, got {weight} and {temperature}")
    teacher, student = ((x / temperature).log_softmax(1) for x in (taught, logits))
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return (1 - weight) * F.cross_entropy(logits, y) + weight * temperature**2 * divergence
