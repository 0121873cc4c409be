"""CSPDarknet53 as ports of Darknet write it, in their two spellings; see `training_code.backbones.naming`."""

import torch
from torch import nn


class Unit(nn.Module):
    """Convolution, batch norm, Mish."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, sequential: bool = False) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.sequential = sequential
        if sequential:
            self.conv = nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.Mish())
        else:
            self.conv, self.bn = convolution, nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if self.sequential else nn.functional.mish(self.bn(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, channels: int, hidden: int, sequential: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Unit(channels, hidden, 1, sequential=sequential), Unit(hidden, channels, 3, sequential=sequential)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


class Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, first: bool, sequential: bool) -> None:
        super().__init__()
        branch = outputs if first else outputs // 2
        self.blocks_first = not sequential
        self.downsample_conv = Unit(inputs, outputs, 3, 2, sequential)
        self.split_conv0 = Unit(outputs, branch, 1, sequential=sequential)
        self.split_conv1 = Unit(outputs, branch, 1, sequential=sequential)
        blocks = [Residual(branch, outputs // 2, sequential) for _ in range(depth)]
        self.blocks_conv = nn.Sequential(*blocks, Unit(branch, branch, 1, sequential=sequential))
        self.concat_conv = Unit(2 * branch, outputs, 1, sequential=sequential)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.downsample_conv(x)
        around, through = self.split_conv0(x), self.blocks_conv(self.split_conv1(x))
        joined = [through, around] if self.blocks_first else [around, through]
        return self.concat_conv(torch.cat(joined, dim=1))


class CSPDarknet53(nn.Module):
    """The whole network; ``sequential`` chooses the spelling with ``stem_conv.conv.0``."""

    def __init__(self, sequential: bool) -> None:
        super().__init__()
        self.stem = "stem_conv" if sequential else "conv1"
        setattr(self, self.stem, Unit(3, 32, 3, sequential=sequential))
        channels, depths = (32, 64, 128, 256, 512, 1024), (1, 2, 8, 8, 4)
        self.stages = nn.ModuleList(
            Stage(channels[index], channels[index + 1], depth, index == 0, sequential)
            for index, depth in enumerate(depths)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [getattr(self, self.stem)(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps
