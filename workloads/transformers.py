"""BERT, ViT and GPT-2: products of activations are matmul layers with two dynamic operands."""

from __future__ import annotations

from network_builder import Network

WIDTH, HEADS, DEPTH = 768, 12, 12


def bert(tokens: int) -> Network:
    """BERT-base encoder with pooler; normalisation behind each sublayer (Devlin et al. 2019)."""
    net = Network()
    x = net.add("embeddings/add_position_segment", net.input("embeddings", WIDTH, tokens))
    x = net.norm("embeddings/norm", x, "layer")
    for index in range(DEPTH):
        name = f"layer{index}"
        qkv = [net.linear(f"{name}.attention.{part}", x, WIDTH) for part in ("query", "key", "value")]
        y = _attention(net, f"{name}.attention", *qkv)
        y = net.linear(f"{name}.attention.output", y, WIDTH)
        x = net.norm(f"{name}.attention.norm", net.add(f"{name}.attention.add", x, y), "layer")
        y = _feed_forward(net, name, x)
        x = net.norm(f"{name}.norm", net.add(f"{name}.add", x, y), "layer")
    first = net.slice("pooler/first_token", x, WIDTH, 1)
    net.activation("pooler/tanh", net.linear("pooler", first, WIDTH), "tanh")
    return net


def vit(size: int, patch: int, classes: int) -> Network:
    """ViT-B: patches as a strided convolution, a class token, norms before each sublayer (Dosovitskiy et al. 2021)."""
    net = Network()
    x = net.conv("patches", net.input("image", 3, size, size), WIDTH, patch, patch, 0)
    x = net.reshape("patches/flatten", x, WIDTH, (size // patch) ** 2)
    x = net.concat("tokens", net.input("class_token", WIDTH, 1), x, axis="position")
    x = net.add("tokens/add_position", x)
    for index in range(DEPTH):
        x = _pre_norm_block(net, f"layer{index}", x)
    x = net.slice("class", net.norm("norm", x, "layer"), WIDTH, 1)
    net.linear("head", x, classes)
    return net


def gpt2(tokens: int, context: int = 0) -> Network:
    """GPT-2 small with its vocabulary projection for the last token (Radford et al. 2019).

    With ``context``, the keys and values of that many earlier tokens come from outside, as two inputs per layer.
    """
    net = Network()
    x = net.add("embeddings/add_position", net.input("embeddings", WIDTH, tokens))
    for index in range(DEPTH):
        x = _pre_norm_block(net, f"layer{index}", x, context, masked=tokens > 1)
    x = net.norm("norm", x, "layer")
    x = net.slice("last_token", x, WIDTH, 1) if tokens > 1 else x
    net.linear("vocabulary", x, 50257)
    return net


def _pre_norm_block(net: Network, name: str, x: str, context: int = 0, masked: bool = False) -> str:
    y = net.linear(f"{name}.attention.qkv", net.norm(f"{name}.norm1", x, "layer"), 3 * WIDTH)
    tokens = net.shape(x)[1]
    query, key, value = (net.slice(f"{name}.attention.{part}", y, WIDTH, tokens) for part in ("query", "key", "value"))
    if context:
        key = _with_cache(net, f"{name}.attention.keys", key, context)
        value = _with_cache(net, f"{name}.attention.values", value, context)
    y = _attention(net, f"{name}.attention", query, key, value, masked)
    x = net.add(f"{name}.attention.add", x, net.linear(f"{name}.attention.output", y, WIDTH))
    y = _feed_forward(net, name, net.norm(f"{name}.norm2", x, "layer"))
    return net.add(f"{name}.add", x, y)


def _with_cache(net: Network, name: str, new: str, context: int) -> str:
    return net.concat(name, net.input(f"{name}.cache", WIDTH, context), new, axis="position")


def _attention(net: Network, name: str, query: str, key: str, value: str, masked: bool = False) -> str:
    columns = net.shape(key)[1]
    scores = net.scale(f"{name}.scale", net.matmul(f"{name}.scores", query, key, HEADS, columns))
    if masked:
        scores = net.add(f"{name}.mask", scores)
    weights = net.softmax(f"{name}.softmax", scores)
    return net.matmul(f"{name}.context", weights, value, HEADS, WIDTH // HEADS)


def _feed_forward(net: Network, name: str, x: str) -> str:
    y = net.activation(f"{name}.gelu", net.linear(f"{name}.up", x, 4 * WIDTH), "gelu")
    return net.linear(f"{name}.down", y, WIDTH)
