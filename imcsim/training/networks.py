"""Build networks to train: each is a function of (channels, classes, width) that gives a fresh module."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

Network = Callable[[int, int, float], nn.Module]


def _wide(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def mlp(channels: int, classes: int, width: float) -> nn.Module:
    """Build one hidden layer of 64 units, for small images of any size."""
    hidden = _wide(64, width)
    first = nn.LazyLinear(hidden, bias=False)
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes))


def small_cnn(channels: int, classes: int, width: float) -> nn.Module:
    """Build four layers for images of 28x28 or 32x32; each convolution, of 8, 16, 32 channels, halves the size."""
    sizes = [channels, *(_wide(n, width) for n in (8, 16, 32))]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * sizes[-1], classes))


class _Residual(nn.Module):
    """Compute two convolutions and a shortcut, which is a 1x1 convolution where shapes differ."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


def _resnet(sizes: tuple[int, ...], blocks: int, channels: int, classes: int, width: float) -> nn.Module:
    before = _wide(sizes[0], width)
    layers: list[nn.Module] = [nn.Conv2d(channels, before, 3, 1, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
    for stage, size in enumerate(sizes):
        for block in range(blocks):
            after = _wide(size, width)
            layers.append(_Residual(before, after, 2 if stage and not block else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def resnet8(channels: int, classes: int, width: float) -> nn.Module:
    """Build eight layers of 16, 32 and 64 channels, for images of 32x32 (as in MLPerf Tiny)."""
    return _resnet((16, 32, 64), 1, channels, classes, width)


def resnet32(channels: int, classes: int, width: float) -> nn.Module:
    """Build 33 convolutions of 16, 28 and 56 channels: 361,712 weights at width 1 (Joshi et al., Nat. Commun. 2020)."""
    return _resnet((16, 28, 56), 5, channels, classes, width)


NETWORKS: dict[str, Network] = {"mlp": mlp, "small_cnn": small_cnn, "resnet8": resnet8, "resnet32": resnet32}
