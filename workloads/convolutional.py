"""Residual, dense and mobile networks, written down from their papers."""

from __future__ import annotations

from network_builder import Network


def resnet(blocks: tuple[int, ...], classes: int, size: int, imagenet_stem: bool) -> Network:
    """A residual network of basic blocks with 64, 128, 256, 512 channels and projection shortcuts (He et al. 2016).

    The ImageNet stem is a 7x7 convolution with stride 2 and a pooling, the other one a single 3x3 convolution.
    """
    net = Network()
    x = net.input("image", 3, size, size)
    x = net.conv("conv1", x, 64, 7, 2) if imagenet_stem else net.conv("conv1", x, 64, 3)
    x = net.activation("conv1/relu", x)
    if imagenet_stem:
        x = net.pool("maxpool", x, "max", 3, 2, 1)
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _basic_block(net, f"layer{stage + 1}.{block}", x, 64 * 2**stage, stride, projection=True)
    return _classifier(net, x, classes)


def resnet_cifar(depth: int) -> Network:
    """The CIFAR-10 network of 6n + 2 layers, 16 to 64 channels, weightless shortcuts (He et al. 2016, option A)."""
    net = Network()
    x = net.activation("conv1/relu", net.conv("conv1", net.input("image", 3, 32, 32), 16, 3))
    for stage in range(3):
        for block in range((depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _basic_block(net, f"layer{stage + 1}.{block}", x, 16 * 2**stage, stride, projection=False)
    return _classifier(net, x, 10)


def _basic_block(net: Network, name: str, x: str, channels: int, stride: int, projection: bool) -> str:
    y = net.activation(f"{name}.relu1", net.conv(f"{name}.conv1", x, channels, 3, stride))
    y = net.conv(f"{name}.conv2", y, channels, 3)
    shape = net.shape(y)
    if net.shape(x) != shape and projection:
        x = net.conv(f"{name}.shortcut", x, channels, 1, stride)
    elif net.shape(x) != shape:
        x = net.slice(f"{name}.shortcut/subsample", x, net.shape(x)[0], *shape[1:])
        x = net.pad(f"{name}.shortcut/pad", x, channels)
    return net.activation(f"{name}.relu2", net.add(f"{name}.add", y, x))


def _classifier(net: Network, x: str, classes: int) -> Network:
    net.linear("fc", net.global_pool("avgpool", x), classes)
    return net


def densenet(blocks: tuple[int, ...], growth: int, classes: int, size: int, imagenet_stem: bool) -> Network:
    """A densely connected network with bottlenecks and compression 0.5 (Huang et al. 2017).

    Normalisations before a convolution stay layers; those behind one are folded into it.
    """
    net = Network()
    x = net.input("image", 3, size, size)
    x = net.conv("conv0", x, 64, 7, 2) if imagenet_stem else net.conv("conv0", x, 64, 3)
    x = net.activation("conv0/relu", x)
    if imagenet_stem:
        x = net.pool("pool0", x, "max", 3, 2, 1)
    for index, count in enumerate(blocks, start=1):
        for layer in range(1, count + 1):
            x = _dense_layer(net, f"block{index}.{layer}", x, growth)
        if index < len(blocks):
            y = _norm_relu(net, f"transition{index}", x)
            y = net.conv(f"transition{index}.conv", y, net.shape(x)[0] // 2, 1)
            x = net.pool(f"transition{index}.pool", y, "avg", 2, 2)
    return _classifier(net, _norm_relu(net, "final", x), classes)


def _dense_layer(net: Network, name: str, x: str, growth: int) -> str:
    y = net.conv(f"{name}.conv1", _norm_relu(net, name, x), 4 * growth, 1)
    y = net.conv(f"{name}.conv2", net.activation(f"{name}.relu2", y), growth, 3)
    return net.concat(f"{name}.concat", x, y)


def _norm_relu(net: Network, name: str, x: str) -> str:
    return net.activation(f"{name}.relu", net.norm(f"{name}.norm", x, "batch"))


def mobilenet_v2() -> Network:
    """Inverted residuals with linear bottlenecks, width 1.0 (Sandler et al. 2018)."""
    net = Network()
    x = net.conv("features.0", net.input("image", 3, 224, 224), 32, 3, 2)
    x = net.activation("features.0/relu6", x, "relu6")
    index = 1
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels, count, first_stride in rows:
        for block in range(count):
            x = _inverted_residual(net, f"features.{index}", x, expansion, channels, first_stride if block == 0 else 1)
            index += 1
    x = net.activation(f"features.{index}/relu6", net.conv(f"features.{index}", x, 1280, 1), "relu6")
    return _classifier(net, x, 1000)


def _inverted_residual(net: Network, name: str, x: str, expansion: int, channels: int, stride: int) -> str:
    y, hidden = x, net.shape(x)[0] * expansion
    if expansion > 1:
        y = net.activation(f"{name}.expand/relu6", net.conv(f"{name}.expand", y, hidden, 1), "relu6")
    y = net.conv(f"{name}.depthwise", y, hidden, 3, stride, groups=hidden)
    y = net.conv(f"{name}.project", net.activation(f"{name}.depthwise/relu6", y, "relu6"), channels, 1)
    return net.add(f"{name}.add", x, y) if net.shape(x) == net.shape(y) else y
