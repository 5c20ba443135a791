import pytest

from difflut.registry import NODES
from experiments.verify import verify


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_wiring_and_encoder_is_its_circuit(node, capsys):
    assert verify("digits", features=8, samples=64, nodes=[node], back_ends=["numpy", "engine"]) == 0
    assert "32 networks" in capsys.readouterr().out


def test_an_unknown_back_end_is_refused():
    with pytest.raises(ValueError, match="numpy, engine, C, Verilog"):
        verify("digits", back_ends=["vhdl"])
