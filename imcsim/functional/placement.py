"""Where the products of a layer come from: which of its inputs drive which crossbar, and what its columns add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from imcsim.errors import ImcsimError
from imcsim.functional.coding import Block, WeightCode, blocks, segments
from imcsim.hardware import Hardware
from imcsim.plan import Basis, BasisMvm, Mvm, Plan, Program
from imcsim.quantised import IntegerLayer, Integers

BASIS = "basis"  # what plans call the content of the crossbars that hold it


@dataclass(frozen=True)
class Content:
    """What is written for a layer, or for the basis: ``blocks``, one for each crossbar, as cells by ``code``."""

    code: WeightCode
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Part:
    """One use of one crossbar: its first rows are driven by the inputs ``rows`` of a layer.

    ``content``, ``number``: which crossbar. ``channels``: the outputs that its column results add to, each result once,
    or, with ``coefficients`` (results, channels), in combination.
    """

    content: str
    number: int
    rows: Integers
    channels: Integers
    coefficients: Integers | None = None


@dataclass(frozen=True)
class Placement:
    """The parts that make up a layer; what they add up to is ``divisor`` times its sums."""

    parts: tuple[Part, ...]
    divisor: int = 1


@dataclass(frozen=True)
class Layout:
    """All contents of a chip, and the placement of every layer that has one; the others are computed digitally.

    ``rewritten``: contents that the plan writes for every batch.
    """

    contents: Mapping[str, Content]
    placements: Mapping[str, Placement]
    rewritten: frozenset[str] = frozenset()


def layout(plan: Plan, layers: Sequence[IntegerLayer], hardware: Hardware) -> Layout:
    """What a plan makes of the layers of a network.

    Raises ImcsimError for plans whose coefficients are synthetic, from which no values follow.
    """
    how = {op.layer.name: op for op in plan.operations() if isinstance(op, Mvm | BasisMvm)}
    contents: dict[str, Content] = {}
    placements: dict[str, Placement] = {}
    for layer in layers:
        operation = how.get(layer.name)
        if isinstance(operation, BasisMvm):
            contents.setdefault(BASIS, basis_content(operation.basis, hardware, plan.scheme))
            placements[layer.name] = combined(layer, operation.basis, contents[BASIS])
        elif isinstance(operation, Mvm):
            contents[layer.name] = layer_content(layer, hardware, operation.layer.weight_quant.bits)
            placements[layer.name] = direct(layer.name, contents[layer.name])
    rewritten = frozenset(op.layer for op in plan.operations() if isinstance(op, Program))
    return Layout(contents, placements, rewritten)


def layer_content(layer: IntegerLayer, hardware: Hardware, weight_bits: int) -> Content:
    """The weights of a layer in crossbars of their own."""
    code = WeightCode.of(weight_bits, hardware)
    return Content(code, list(blocks(layer, hardware, code)))


def direct(name: str, content: Content) -> Placement:
    """A layer on crossbars that hold its weights."""
    parts = (Part(name, number, block.rows, block.channels) for number, block in enumerate(content.blocks))
    return Placement(tuple(parts))


def basis_content(basis: Basis, hardware: Hardware, scheme: str) -> Content:
    """The elements of a basis, (length, vectors), in as many crossbars as its vectors take."""
    if basis.elements != "hadamard" or basis.sum != "digital":
        hint = "add --option basis=hadamard to basis_broadcast, take --scheme static or reprogram, or leave out --data"
        raise ImcsimError(f"scheme '{scheme}'", "computes no values: its coefficients are synthetic", hint)
    code = WeightCode.of(basis.basis_bits, hardware)
    elements, width = hadamard_elements(basis), hardware.crossbar.columns // code.columns
    rows, vectors = np.arange(basis.length), np.arange(basis.vectors)
    starts = range(0, basis.vectors, width)
    return Content(code, [Block(rows, vectors[s : s + width], elements[:, s : s + width]) for s in starts])


def hadamard_elements(basis: Basis) -> Integers:
    """(length, vectors) of +-1: rows of a Hadamard matrix, so that B B^T = vectors * identity."""
    return np.asarray(hadamard(basis.vectors), np.int64)[: basis.length]


def combined(layer: IntegerLayer, basis: Basis, content: Content) -> Placement:
    """A layer from the shared basis: x W = (x B) (B^T W) / vectors, segment by segment, exact in integers."""
    elements, parts = hadamard_elements(basis), []
    for segment in segments(layer, basis.length, max(1, basis.length // layer.rows)):
        coefficients = elements[: len(segment.rows)].T @ segment.weights
        for number, block in enumerate(content.blocks):
            parts.append(Part(BASIS, number, segment.rows, segment.channels, coefficients[block.channels]))
    return Placement(tuple(parts), basis.vectors)
