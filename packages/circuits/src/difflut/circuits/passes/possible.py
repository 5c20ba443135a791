"""Which addresses LUTs can see, by the sources that their inputs share."""

from itertools import combinations

import numpy as np

from difflut.circuits.passes.windows import NO_SOURCE, Window, Windows, addresses


def possible_addresses(windows: Windows, luts: np.ndarray) -> np.ndarray:
    """Which addresses can occur, as far as is known: `(rows, 2**n)` booleans.

    Inputs that share sources are put together as long as their states can be enumerated, those with the fewest first.
    """
    signals = windows.pins_of(luts)
    n = signals.shape[1]
    possible = np.ones((len(luts), 2**n), bool)
    together = np.tile(1 << np.arange(n), (len(luts), 1))  # bit p: input p is in the cluster; 0 is no cluster
    clusters: list[Window] = [windows.window(column) for column in signals.T]
    clusters = [(sources.copy(), seen.copy()) for sources, seen in clusters]
    active = np.arange(len(luts))
    while len(active):
        best, pair = np.full(len(luts), np.inf), np.zeros((len(luts), 2), int)
        for a, b in combinations(range(n), 2):
            rows = active[(together[active][:, [a, b]] > 0).all(1)]
            rows = rows[_share(clusters[a][0][rows], clusters[b][0][rows])]
            _, found = windows.joined(*((of[0][rows], of[1][rows]) for of in (clusters[a], clusters[b])))
            better = (found <= windows.max_states) & (found < best[rows])
            best[rows[better]], pair[rows[better]] = found[better], (a, b)
        active = active[np.isfinite(best[active])]
        for a, b in combinations(range(n), 2):
            rows = active[(pair[active] == (a, b)).all(1)]
            joined, _ = windows.joined(*((of[0][rows], of[1][rows]) for of in (clusters[a], clusters[b])))
            clusters[a][0][rows], clusters[a][1][rows] = joined
            together[rows, a] |= together[rows, b]
            together[rows, b] = 0
    for cluster in range(n):
        several = np.flatnonzero(together[:, cluster] & (together[:, cluster] - 1))
        members = together[several, cluster]
        window = clusters[cluster][0][several], clusters[cluster][1][several]
        for rows, values in windows.values(signals[several], window):
            _restrict(possible, several[rows], members[rows], addresses(values))
        constant = np.flatnonzero(windows.constant[signals[:, cluster]] >= 0)
        value = windows.constant[signals[constant, cluster]]
        possible[constant] &= np.arange(2**n) >> cluster & 1 == value[:, None]
    return possible


def _share(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether two windows have a source in common."""
    return ((one[:, :, None] == other[:, None]) & (one != NO_SOURCE)[:, :, None]).any((1, 2))


def _restrict(possible: np.ndarray, luts: np.ndarray, members: np.ndarray, address: np.ndarray) -> None:
    """Leaves the addresses whose bits of the members occur."""
    seen = np.zeros((len(luts), possible.shape[1]), bool)
    np.put_along_axis(seen, address & members[:, None], True, 1)
    wanted = np.arange(possible.shape[1]) & members[:, None]
    possible[luts] &= np.take_along_axis(seen, wanted, 1)
