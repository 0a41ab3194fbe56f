"""Name the components of the price table, and the actions that recipes count and presets price."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

GREY = "#BBBBBB"


class Action(NamedTuple):
    """Name something that a component does and that has a price; recipes say how often it is done."""

    component: str
    action: str


class Component(StrEnum):
    """Name the rows of the price table that this package knows; presets and operations may bring others.

    ``colour``: in figures. ``moves_data``: what it does is to move data, and no work.
    """

    colour: str
    moves_data: bool

    def __new__(cls, value: str, colour: str = GREY, moves_data: bool = False) -> Self:
        """Make a member whose value is a plain string, which is what files hold."""
        component = str.__new__(cls, value)
        component._value_ = value
        component.colour, component.moves_data = colour, moves_data
        return component

    CELL = "cell", "#D55E00"
    ADC = "adc", "#0072B2"
    ARRAY = "array", "#56B4E9"
    DAC = "dac", "#009E73"
    DIGITAL = "digital", "#CC79A7"
    DRAM = "dram", "#E69F00", True
    BUFFER = "buffer", "#8C6D31", True
    BUS = "bus", "#C9B27C", True
    ROUTER = "router", "#B0413E", True
    INPUT_REGISTER = "input_register", "#6A4C93"
    OUTPUT_REGISTER = "output_register", "#A98BC9"
    SHIFT_ADD = "shift_add", "#F0E442"
    SAMPLE_HOLD = "sample_hold", "#4D4D4D"
    LEAKAGE = "leakage", "#000000"  # of all parts
    ACCUMULATOR = "accumulator"  # of gradients
    PAIR = "pair"  # of devices that hold a weight
    PULSES = "pulses"  # trains that meet

    def does(self, action: str) -> Action:
        """Return an action of this component."""
        return Action(self.value, action)


DAC_DRIVE = Component.DAC.does("drive")
ARRAY_READ = Component.ARRAY.does("read")
SAMPLE_HOLD_HOLD = Component.SAMPLE_HOLD.does("hold")
ADC_CONVERT = Component.ADC.does("convert")
SHIFT_ADD_ADD = Component.SHIFT_ADD.does("add")
INPUT_REGISTER_BYTE = Component.INPUT_REGISTER.does("byte")
OUTPUT_REGISTER_BYTE = Component.OUTPUT_REGISTER.does("byte")
BUFFER_READ_BYTE = Component.BUFFER.does("read_byte")
BUFFER_WRITE_BYTE = Component.BUFFER.does("write_byte")
BUS_BYTE = Component.BUS.does("byte")
ROUTER_BYTE_HOP = Component.ROUTER.does("byte_hop")
DRAM_BYTE = Component.DRAM.does("byte")
DIGITAL_OP = Component.DIGITAL.does("op")
DIGITAL_MAC = Component.DIGITAL.does("mac")

PRICED = {  # actions that a preset must price -> what one of it is
    DAC_DRIVE: "one row driven with one input digit",
    ARRAY_READ: "one cell read for one input phase",
    SAMPLE_HOLD_HOLD: "one column sum held for one input phase",
    ADC_CONVERT: "one conversion",
    SHIFT_ADD_ADD: "one conversion result shifted and added",
    INPUT_REGISTER_BYTE: "one byte of an input vector written and read",
    OUTPUT_REGISTER_BYTE: "one byte of a result written and read",
    BUFFER_READ_BYTE: "one byte read from the buffer of a tile",
    BUFFER_WRITE_BYTE: "one byte written to the buffer of a tile",
    BUS_BYTE: "one byte moved between buffer and crossbars of a tile",
    ROUTER_BYTE_HOP: "one byte moved over one hop of the network on chip",
    DRAM_BYTE: "one byte read from or written to the memory outside the chip",
    DIGITAL_OP: "one element-wise operation of the digital unit",
    DIGITAL_MAC: "one multiply-accumulate of the digital unit",
}

CELL_VERIFY = Component.CELL.does("verify")  # the other actions of cells are those of a write circuit

READ, SET, RESET = "read", "set", "reset"  # of a phase-change device
ACCUMULATOR_READ, ACCUMULATOR_SET, ACCUMULATOR_RESET = map(Component.ACCUMULATOR.does, (READ, SET, RESET))
PAIR_READ, PAIR_SET, PAIR_RESET = map(Component.PAIR.does, (READ, SET, RESET))
PULSES_COMPARE = Component.PULSES.does("compare")
PULSES_COINCIDE = Component.PULSES.does("coincide")
