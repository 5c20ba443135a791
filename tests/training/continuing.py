"""A training that is stopped and goes on, beside one that is not."""

import torch

COMPARED = ("train_loss", "train_accuracy", "learning_rate")


def assert_goes_on(make, epochs, stop):
    """What `make` gives trains as well in one piece as when another goes on from its state after `stop` epochs."""
    whole = make()
    expected = [whole.run_epoch() for _ in range(epochs)]
    first = make()
    for _ in range(stop):
        first.run_epoch()
    weights, state = first.model.state_dict(), first.state_dict()
    second = make()
    torch.manual_seed(99)  # noise must follow from the state
    second.model.load_state_dict(weights)
    second.load_state_dict(state)
    for row in expected[stop:]:
        again = second.run_epoch()
        assert [again[key] for key in COMPARED] == [row[key] for key in COMPARED]
    assert second.epoch == epochs
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
