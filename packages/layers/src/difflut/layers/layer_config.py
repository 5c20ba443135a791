"""What a layer does in training besides evaluating its nodes."""

from dataclasses import dataclass

from difflut.registry import checked

GRAD_STABILIZATIONS = ("none", "layerwise", "batchwise")


@checked
@dataclass(frozen=True)
class LayerConfig:
    """Training options of a layer.

    Attributes:
        flip_probability: Probability with which each input bit is replaced by its complement in training.
        grad_stabilization: Rescaling of the gradient of the layer's output: `"none"`, `"layerwise"` over the whole
            batch, or `"batchwise"` for each sample.
        grad_target_std: The standard deviation that the rescaled gradient has.
        grad_subtract_mean: Whether to subtract the gradient's mean before rescaling.

    Raises:
        ValueError: An option is out of range, or without effect.
    """

    flip_probability: float = 0.0
    grad_stabilization: str = "none"
    grad_target_std: float = 1.0
    grad_subtract_mean: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability={self.flip_probability} must lie between 0 and 1")
        if self.grad_stabilization not in GRAD_STABILIZATIONS:
            raise ValueError(
                f"grad_stabilization={self.grad_stabilization!r} must be one of {', '.join(GRAD_STABILIZATIONS)}"
            )
        if self.grad_target_std <= 0:
            raise ValueError(f"grad_target_std={self.grad_target_std} must be positive")
        if self.grad_stabilization == "none" and (self.grad_subtract_mean or self.grad_target_std != 1):
            raise ValueError(
                f"grad_subtract_mean={self.grad_subtract_mean} and grad_target_std={self.grad_target_std} need "
                "grad_stabilization, 'layerwise' or 'batchwise'"
            )
