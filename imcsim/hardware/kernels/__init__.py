"""Hold compiled loops of parts of the chip: wires, write-verify."""
