"""Times ResNet38 in PyTorch, for `weakseg bench inference` to compare with.

    python resnet38.py HEIGHT WIDTH CLASSES THREADS

builds AffinityNet's classifier (ResNet38 at full width with its class activation maps, as resnet38.rs has it) with random
weights, runs it once, prints one line of JSON, {"torch": VERSION, "parameters": COUNT}, and then, for every line that it
reads, runs it again and prints the seconds that took. Exits with 3 where PyTorch is not installed:

    pip install torch
"""

import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except (ImportError, OSError) as error:
    print(f"PyTorch cannot be imported ({error}): pip install torch", file=sys.stderr)
    sys.exit(3)

# Channels in, between and out; stride; dilation of either convolution.
BLOCKS = [
    (64, 128, 128, 2, 1, 1), (128, 128, 128, 1, 1, 1), (128, 128, 128, 1, 1, 1),
    (128, 256, 256, 2, 1, 1), (256, 256, 256, 1, 1, 1), (256, 256, 256, 1, 1, 1),
    (256, 512, 512, 2, 1, 1), *[(512, 512, 512, 1, 1, 1)] * 5,
    (512, 512, 1024, 1, 1, 2), *[(1024, 512, 1024, 1, 2, 2)] * 2,
]  # fmt: skip
BOTTLENECKS = [(1024, 2048, 4), (2048, 4096, 4)]


def conv(inputs, outputs, size=3, stride=1, dilation=1):
    padding = (size - 1) // 2 * dilation
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, middle, outputs, stride, first, second):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(middle)])
        self.convs = nn.ModuleList(
            [conv(inputs, middle, 3, stride, first), conv(middle, outputs, 3, 1, second)]
        )
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        y = F.relu(self.norms[0](x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = F.relu(self.norms[1](self.convs[0](y)))
        return shortcut + self.convs[1](y)


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        widths = [inputs, outputs // 4, outputs // 2]
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in widths])
        self.convs = nn.ModuleList(
            [
                conv(inputs, outputs // 4, 1),
                conv(outputs // 4, outputs // 2, 3, 1, dilation),
                conv(outputs // 2, outputs, 1),
            ]
        )
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x):
        y = F.relu(self.norms[0](x))
        shortcut = self.shortcut(y)
        y = self.convs[0](y)
        for norm, layer in zip(self.norms[1:], self.convs[1:]):
            y = layer(F.relu(norm(y)))
        return shortcut + y


class ResNet38(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = conv(3, 64)
        blocks = [Block(*block) for block in BLOCKS]
        self.blocks = nn.Sequential(*blocks, *[Bottleneck(*block) for block in BOTTLENECKS])
        self.norm = nn.BatchNorm2d(4096)
        self.classifier = conv(4096, classes, 1)

    def forward(self, x):
        return F.relu(self.classifier(F.relu(self.norm(self.blocks(self.first(x))))))


def main():
    height, width, classes, threads = map(int, sys.argv[1:5])
    torch.set_num_threads(threads)
    model = ResNet38(classes).eval()
    image = torch.zeros(1, 3, height, width)
    with torch.inference_mode():
        model(image)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(json.dumps({"torch": torch.__version__, "parameters": parameters}), flush=True)
        for _ in sys.stdin:
            clock = time.perf_counter()
            model(image)
            print(time.perf_counter() - clock, flush=True)


if __name__ == "__main__":
    main()
