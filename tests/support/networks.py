"""Small networks for the tests, and chips without any waiting."""

from __future__ import annotations

from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.workload.layers import Conv, Elementwise, Input, Layer, Linear, Window
from imcsim.workload.workload import Workload


def network(*layers: Layer, name: str = "small") -> Workload:
    """A checked workload of some layers."""
    workload = Workload(name=name, description="made for a test", source="tests/networks.py", layers=layers)
    workload.check()
    return workload


def conv(name: str, source: str, channels: tuple[int, int], size: int, kernel: int = 3, groups: int = 1) -> Conv:
    """A square convolution with stride 1 that keeps its size; ``channels``: (in, out)."""
    pad = kernel // 2
    window = Window(kernel=(kernel, kernel), stride=(1, 1), padding=(pad,) * 4, dilation=(1, 1))
    return Conv(
        name=name,
        inputs=(source,),
        output_shape=(channels[1], size, size),
        in_channels=channels[0],
        window=window,
        groups=groups,
    )


def image(channels: int, size: int) -> Input:
    return Input(name="image", inputs=(), output_shape=(channels, size, size))


def linear(name: str, source: str, rows: int, columns: int, tokens: int = 1) -> Linear:
    return Linear(name=name, inputs=(source,), output_shape=(columns, tokens), in_channels=rows)


def one_conv(c_in: int = 128, c_out: int = 128, size: int = 28, kernel: int = 3, groups: int = 1) -> Workload:
    """One convolution; the defaults are the worked example: K = 1152, N = 128, P = 784."""
    return network(image(c_in, size), conv("conv", "image", (c_in, c_out), size, kernel, groups))


def residual(channels: int = 16, size: int = 6) -> Workload:
    """Two convolutions and a skip connection."""
    return network(
        image(channels, size),
        conv("a", "image", (channels, channels), size),
        conv("b", "a", (channels, channels), size),
        Elementwise(name="sum", inputs=("b", "a"), output_shape=(channels, size, size), function="add"),
        conv("c", "sum", (channels, channels), size),
    )


def ideal_chip(name: str = "rram-256", write: str | None = None, **overrides: object) -> Hardware:
    """A preset on which nothing waits for buses, links, DRAM, digital units or buffers."""
    return load_hardware(name, {key.replace("__", "."): value for key, value in overrides.items()}, write, ["all"])
