"""The output of a LUT network: ones counted by class."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.registry import Configured

TAU_STEPS = 2000


class GroupSum(Configured, nn.Module):
    """Class scores: `logit_c` is the sum of group `c`'s outputs over `tau` (arXiv 2210.08277, section 3.3).

    Group `c` is the `c`-th of `k` equal stretches of the features.

    Args:
        k: Classes.
        tau: Temperature that divides the sums; where it is learned or scheduled, the first one.
        use_randperm: Whether features are permuted first; the permutation follows from the seed and the number of
            features, so it is the same at each call.
        seed: Seed of the permutation. `network` always gives one, so it may be given where nothing is permuted.
        learn_tau: Whether the temperature is a parameter, through its logarithm.
        tau_end: A temperature towards which it goes geometrically in training, then stays.
        tau_steps: Training steps until the temperature is `tau_end`.
        reads: Names of the layers whose outputs are counted, each in `k` equal stretches; the last one where not given.

    Raises:
        ValueError: `k`, a temperature or a number of steps is not positive, `tau` is both learned and scheduled,
            `tau_steps` is given without `tau_end`, or `reads` is empty.
    """

    permutation: Tensor
    steps: Tensor

    def __init__(
        self,
        k: int,
        tau: float = 1.0,
        use_randperm: bool = False,
        seed: int = 0,
        learn_tau: bool = False,
        tau_end: float | None = None,
        tau_steps: int = TAU_STEPS,
        reads: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        if tau <= 0:
            raise ValueError(f"tau={tau} must be positive")
        if learn_tau and tau_end is not None:
            raise ValueError(f"tau_end={tau_end} must be None with learn_tau: tau is either learned or scheduled")
        if (tau_end is not None and tau_end <= 0) or tau_steps < 1:
            raise ValueError(f"tau_end={tau_end} and tau_steps={tau_steps} must be positive")
        if tau_end is None and tau_steps != TAU_STEPS:
            raise ValueError(f"tau_steps={tau_steps} needs tau_end, the temperature after these steps; got None")
        self.k, self.tau, self.use_randperm, self.seed = k, tau, use_randperm, seed
        if reads is not None and not reads:
            raise ValueError("reads=[] must name at least one layer, or be left out: the last one")
        if use_randperm and reads is not None and len(reads) > 1:
            raise ValueError(f"use_randperm permutes the features of one layer, got reads={list(reads)}")
        self.learn_tau, self.tau_end, self.tau_steps = learn_tau, tau_end, tau_steps
        self.reads = None if reads is None else list(reads)
        self.register_buffer("permutation", torch.empty(0, dtype=torch.long))
        if learn_tau:
            self.log_tau = nn.Parameter(torch.tensor(float(tau)).log())
        elif tau_end is not None:
            self.register_buffer("steps", torch.zeros(()))

    @property
    def tau_is_fixed(self) -> bool:
        return not self.learn_tau and self.tau_end is None

    @property
    def present_tau(self) -> float:
        """The temperature that divides the sums at present."""
        with torch.no_grad():
            return float(self._temperature())

    def _temperature(self) -> float | Tensor:
        if self.learn_tau:
            return self.log_tau.exp()
        if self.tau_end is not None:
            return self.tau * (self.tau_end / self.tau) ** (self.steps / self.tau_steps).clamp(max=1)
        return self.tau

    def scale(self, sums: Tensor) -> Tensor:
        """Sums `(batch, k)` to logits; in training a scheduled temperature takes a step."""
        if self.training and self.tau_end is not None:
            self.steps += 1
        return sums / self._temperature()

    def forward(self, *sources: Tensor) -> Tensor:
        """Counts `(batch, features)`, or several of these, to logits `(batch, k)`.

        Raises:
            ValueError: `k` does not divide a number of features.
        """
        return self.scale(torch.stack([self._sums(x) for x in sources]).sum(0) if sources[1:] else self._sums(*sources))

    def _sums(self, x: Tensor) -> Tensor:
        self.check_features(x.shape[1])
        if self.use_randperm:
            x = x[:, self._permutation(x.shape[1])]
        # Sixteen bits count to 256 or 2048 only.
        return kernels.group_sum(x.to(torch.promote_types(x.dtype, torch.float32)), self.k)

    def groups(self, *features: int) -> Tensor:
        """The class to which each feature of one or several sources counts: `(sum of features,)`.

        Raises:
            ValueError: `k` does not divide a number of features.
        """
        return torch.cat([self._groups(width) for width in features])

    def _groups(self, features: int) -> Tensor:
        self.check_features(features)
        groups = torch.arange(features, device=self.permutation.device) // (features // self.k)
        if not self.use_randperm:
            return groups
        return torch.empty_like(groups).index_copy_(0, self._permutation(features), groups)

    def check_features(self, features: int) -> None:
        """Raises a `ValueError` where `k` does not divide a number of features."""
        if features % self.k:
            raise ValueError(
                f"GroupSum: {features} features cannot be divided into k={self.k} equal groups; "
                f"make the last layer {features + self.k - features % self.k} wide"
            )

    def _permutation(self, features: int) -> Tensor:
        if len(self.permutation) != features:
            generator = torch.Generator().manual_seed(self.seed)
            self.permutation = torch.randperm(features, generator=generator).to(self.permutation.device)
        return self.permutation

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        saved = state_dict.get(f"{prefix}permutation")
        if saved is not None:
            self.permutation = self.permutation.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_state(self) -> None:
        """Raises a `ValueError` where the temperature is not positive, or the permutation is none."""
        if not 0 < self.present_tau < math.inf:
            raise ValueError(f"GroupSum: the temperature is {self.present_tau}; it must be positive and finite")
        if not torch.equal(self.permutation.sort().values.cpu(), torch.arange(self.permutation.numel())):
            raise ValueError("GroupSum: the permutation must hold each feature once")

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.get_params().items())
