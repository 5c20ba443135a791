"""Settings with which a fit takes a moment."""

SMALL = {"votes": 30, "candidates": 16, "num_bits": 12, "epochs": 10, "tau": 7.0, "explores": True, "random_state": 0}
