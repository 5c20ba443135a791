"""Trained networks that come along, each with its circuit, test vectors and a card that says what it is.

from difflut.pretrained import load, names

model = load("mnist-4000")
model.network(x), model.circuit.engine().classes(x), model.card["accuracy"]
"""

from difflut.pretrained.library import folder_of as folder_of
from difflut.pretrained.library import load as load
from difflut.pretrained.library import names as names
from difflut.pretrained.model import CARD as CARD
from difflut.pretrained.model import VECTORS as VECTORS
from difflut.pretrained.model import ModelError as ModelError
from difflut.pretrained.model import Pretrained as Pretrained
from difflut.pretrained.model import read_model as read_model
from difflut.pretrained.model import write_model as write_model
