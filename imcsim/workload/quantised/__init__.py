"""Compute quantised networks as integers: anybody may multiply the weighted layers, the library does the rest."""

from imcsim.workload.quantised.layers import IntegerLayer, Integers
from imcsim.workload.quantised.network import Multiply, QuantisedNetwork, load_quantised

__all__ = ["IntegerLayer", "Integers", "Multiply", "QuantisedNetwork", "load_quantised"]
