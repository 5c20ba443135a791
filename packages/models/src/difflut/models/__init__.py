"""LUT networks: built from Python, from a description in YAML or JSON, or from a checkpoint."""

from difflut.models.building import network as network
from difflut.models.checkpoint import load_checkpoint as load_checkpoint
from difflut.models.checkpoint import read_checkpoint as read_checkpoint
from difflut.models.checkpoint import save_checkpoint as save_checkpoint
from difflut.models.description import build_model as build_model
from difflut.models.description import describe as describe
from difflut.models.ensembles import ensemble as ensemble
from difflut.models.hardening import hardened as hardened
from difflut.models.mirroring import mirrored as mirrored
from difflut.models.networks import LUTNetwork as LUTNetwork
from difflut.models.sealed import UNFINISHED as UNFINISHED
from difflut.models.sealed import CheckpointError as CheckpointError
from difflut.models.sealed import load_sealed as load_sealed
from difflut.models.sealed import save_sealed as save_sealed
from difflut.models.sealed import write_whole as write_whole
from difflut.models.validation import ConfigError as ConfigError
from difflut.models.validation import validate_config as validate_config
