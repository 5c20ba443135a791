"""Encoders: real inputs to the bits that look-up tables read.

from difflut.encoders import DistributiveThermometer

encoder = DistributiveThermometer(num_bits=3).fit(training_inputs)
bits = encoder(inputs)  # (batch, features * 3)
"""

import sys

from difflut.encoders.codes import Binary as Binary
from difflut.encoders.codes import Gray as Gray
from difflut.encoders.codes import OneHot as OneHot
from difflut.encoders.codes import SignMagnitude as SignMagnitude
from difflut.encoders.data import Data as Data
from difflut.encoders.data import check_rounding as check_rounding
from difflut.encoders.encoder import Encoder as Encoder
from difflut.encoders.thermometer import DistributiveThermometer as DistributiveThermometer
from difflut.encoders.thermometer import GaussianThermometer as GaussianThermometer
from difflut.encoders.thermometer import Logarithmic as Logarithmic
from difflut.encoders.thermometer import MidpointThermometer as MidpointThermometer
from difflut.encoders.thermometer import Thermometer as Thermometer
from difflut.registry import import_submodules

import_submodules(sys.modules[__name__])
