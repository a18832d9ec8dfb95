"""Times EfficientNet-Lite0 in PyTorch, for `weakseg bench lite0` to compare with.

    python lite0.py CLASSES THREADS HEIGHT WIDTH BATCH CROP

builds the CAM classifier of the recipe `photos` (EfficientNet-Lite0 at output stride 16, as efficientnet_lite.rs has it) with
random weights, runs it once, prints one line of JSON, {"torch": VERSION, "parameters": COUNT}, and then, for every line
that it reads, prints the seconds that it took: for "inference" a pass over one image of HEIGHT x WIDTH, for "step" a
training step on BATCH images of CROP x CROP with stem, first three stages and batch norm frozen. Exits with 3 where PyTorch
is not installed:

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

# Kernel, stride, expansion, channels, blocks.
STAGES = [
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
]  # fmt: skip
FROZEN = 3


def same(x, kernel, stride, dilation):
    """Pads as TensorFlow's SAME does."""
    before = []
    for side in (x.shape[3], x.shape[2]):
        seen = ((side + stride - 1) // stride - 1) * stride + (kernel - 1) * dilation + 1
        total = max(seen - side, 0)
        before += [total // 2, total - total // 2]
    return F.pad(x, before) if any(before) else x


class Layer(nn.Module):
    """Convolution, batch norm and, where it has one, ReLU6."""

    def __init__(self, inputs, outputs, kernel, stride=1, dilation=1, groups=1, active=True):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, 0, dilation, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.active = active

    def forward(self, x):
        (kernel, _), (stride, _), (dilation, _) = (
            self.conv.kernel_size,
            self.conv.stride,
            self.conv.dilation,
        )
        x = self.norm(self.conv(same(x, kernel, stride, dilation)))
        return F.relu6(x) if self.active else x


class Block(nn.Module):
    def __init__(self, inputs, expansion, outputs, kernel, stride, dilation):
        super().__init__()
        inner = inputs * expansion
        layers = [Layer(inputs, inner, 1)] if expansion != 1 else []
        layers += [
            Layer(inner, inner, kernel, stride, dilation, groups=inner),
            Layer(inner, outputs, 1, active=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


class Lite0(nn.Module):
    def __init__(self, classes, output_stride=16):
        super().__init__()
        self.stem = Layer(3, 32, 3, 2)
        self.stages = nn.ModuleList()
        inputs, reached, dilation = 32, 2, 1
        for kernel, stride, expansion, outputs, blocks in STAGES:
            before = dilation
            if reached * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reached *= stride
            stage = []
            for i in range(blocks):
                first = i == 0
                step = (stride if first else 1, before if first else dilation)
                stage.append(Block(inputs, expansion, outputs, kernel, *step))
                inputs = outputs
            self.stages.append(nn.Sequential(*stage))
        self.head = Layer(320, 1280, 1)
        self.classifier = nn.Conv2d(1280, classes, 1, bias=False)

    def features(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x)

    def freeze(self):
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        for frozen in (self.stem, *self.stages[:FROZEN]):
            frozen.requires_grad_(False)


def main():
    classes, threads, height, width, batch, crop = map(int, sys.argv[1:7])
    torch.set_num_threads(threads)
    model = Lite0(classes).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.freeze()
    image = torch.zeros(1, 3, height, width)
    images = torch.rand(batch, 3, crop, crop)
    targets = (torch.rand(batch, classes) < 0.3).float()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def inference():
        with torch.inference_mode():
            F.relu(model.classifier(model.features(image)))

    def step():
        features = model.features(images)
        pooled = F.dropout2d(features, 0.5).mean((2, 3), keepdim=True)
        loss = F.multilabel_soft_margin_loss(model.classifier(pooled).flatten(1), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    work = {"inference": inference, "step": step}
    for run in work.values():
        run()
    print(json.dumps({"torch": torch.__version__, "parameters": parameters}), flush=True)
    for line in sys.stdin:
        clock = time.perf_counter()
        work[line.strip()]()
        print(time.perf_counter() - clock, flush=True)


if __name__ == "__main__":
    main()
