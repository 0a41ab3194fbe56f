"""Quantised networks as integers: weighted layers that anybody may multiply, the rest in the library's hands."""

from imcsim.workload.quantised.layers import IntegerLayer, Integers
from imcsim.workload.quantised.network import Multiply, QuantisedNetwork, load_quantised

__all__ = ["IntegerLayer", "Integers", "Multiply", "QuantisedNetwork", "load_quantised"]
