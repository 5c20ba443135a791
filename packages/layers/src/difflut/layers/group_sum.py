"""The output of a LUT network: ones counted by class."""

import torch
from torch import Tensor, nn

from difflut.registry import Configured


class GroupSum(Configured, nn.Module):
    """Class scores: `logit_c` is the sum of group `c`'s outputs over `tau` (arXiv 2210.08277, section 3.3).

    Group `c` is the `c`-th of `k` equal stretches of the features.

    Args:
        k: Classes.
        tau: Temperature that divides the sums.
        use_randperm: Whether features are permuted first; the permutation follows from the seed and the number of
            features, so it is the same at each call.
        seed: Of the permutation.

    Raises:
        ValueError: `k` or `tau` is not positive.
    """

    def __init__(self, k: int, tau: float = 1.0, use_randperm: bool = False, seed: int = 0) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        if tau <= 0:
            raise ValueError(f"tau={tau} must be positive")
        self.k, self.tau, self.use_randperm, self.seed = k, tau, use_randperm, seed
        self.register_buffer("permutation", torch.empty(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, features)` to logits `(batch, k)`.

        Raises:
            ValueError: `k` does not divide the number of features.
        """
        self._check(x.shape[1])
        if self.use_randperm:
            x = x[:, self._permutation(x.shape[1])]
        return x.t().unflatten(0, (self.k, -1)).sum(1).t() / self.tau  # layers store the batch as the fast axis

    def groups(self, features: int) -> Tensor:
        """The class to which each feature counts: `(features,)`.

        Raises:
            ValueError: `k` does not divide the number of features.
        """
        self._check(features)
        groups = torch.arange(features, device=self.permutation.device) // (features // self.k)
        return (
            torch.empty_like(groups).index_copy_(0, self._permutation(features), groups)
            if self.use_randperm
            else groups
        )

    def _check(self, features: int) -> None:
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
            self.permutation = torch.empty_like(saved, device=self.permutation.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.get_params().items())
