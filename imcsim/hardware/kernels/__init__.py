"""Compiled loops of parts of the chip: wires, write-verify."""
