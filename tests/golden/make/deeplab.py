"""Forward passes of DeepLab's networks: `python deeplab.py ../models`."""

import math
import sys

import torch
import torch.nn.functional as F
from formula import SALT, Weights, save, tensor

CLASSES = 21
DIVISOR = 8


def resize(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def resnet101(w, x, stride, caffe):
    """torchvision's, or Caffe's: a level strides in its first 1x1 convolution, and its first block is dilated too."""
    x = F.relu(w.norm("bn1", w.conv("conv1", x, 64 // DIVISOR, 7, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    now, dilation = 4, 1
    for level, (blocks, width) in enumerate([(3, 256), (4, 512), (23, 1024), (3, 2048)], 1):
        output = width // DIVISOR
        step = 1 if level == 1 or now == stride else 2
        now *= step
        before = dilation
        if level > 1 and step == 1:
            dilation *= 2
        for i in range(blocks):
            name = f"layer{level}.{i}"
            s = step if i == 0 else 1
            d = before if i == 0 and not caffe else dilation
            y = F.relu(w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x, output // 4, 1, s if caffe else 1)))
            y = F.relu(w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", y, output // 4, 3, 1 if caffe else s, d)))
            y = w.norm(f"{name}.bn3", w.conv(f"{name}.conv3", y, output, 1))
            if i == 0:
                x = w.norm(f"{name}.downsample.1", w.conv(f"{name}.downsample.0", x, output, 1, s))
            x = F.relu(x + y)
    return x


def vgg16(w, x):
    """Up to pool5a."""
    for level, (count, width) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for i in range(1, count + 1):
            x = F.relu(w.conv(f"conv{level}_{i}", x, width // DIVISOR, 3, dilation=2 if level == 5 else 1, bias=True))
        x = F.max_pool2d(x, 3, 2 if level < 4 else 1, 1)
    return F.avg_pool2d(x, 3, 1, 1)


def aspp_l(w, x):
    return sum(
        w.conv(f"layer5.conv2d_list.{i}", x, CLASSES, 3, dilation=d, bias=True) for i, d in enumerate((6, 12, 18, 24))
    )


def aspp_l_vgg16(w, x):
    scores = 0
    for i, d in enumerate((6, 12, 18, 24), 1):
        y = F.relu(w.conv(f"fc6_{i}", x, 1024 // DIVISOR, 3, dilation=d, bias=True))
        y = F.relu(w.conv(f"fc7_{i}", y, 1024 // DIVISOR, 1, bias=True))
        scores = scores + w.conv(f"fc8_voc12_{i}", y, CLASSES, 1, bias=True)
    return scores


def large_fov(w, x):
    x = F.relu(w.conv("pyram_conv1", x, 1024 // DIVISOR, 3, dilation=12))
    x = F.relu(w.conv("pyram_conv2", x, 1024 // DIVISOR, 1))
    return w.conv("score", x, CLASSES, 1, bias=True)


def aspp(w, x, stride):
    inner = 256 // DIVISOR
    layer = lambda names, x, size, d=1: F.relu(w.norm(names[1], w.conv(names[0], x, inner, size, dilation=d)))
    on = lambda i, first: [f"classifier.0.convs.{i}.{first}", f"classifier.0.convs.{i}.{first + 1}"]
    parts = [layer(on(0, 0), x, 1)]
    parts += [layer(on(i, 0), x, 3, d * 16 // stride) for i, d in enumerate((6, 12, 18), 1)]
    pooled = layer(on(4, 1), x.mean((2, 3), keepdim=True), 1)
    parts.append(resize(pooled, x.shape[2:]))
    x = layer(["classifier.0.project.0", "classifier.0.project.1"], torch.cat(parts, 1), 1)
    x = layer(["classifier.1", "classifier.2"], x, 3)
    return w.conv("classifier.4", x, CLASSES, 1, bias=True)


def msc(scores, x):
    """The image's own size, 0.75 and 0.5 of it: the greatest score, and what has a loss of its own."""
    whole = scores(x)
    sizes = [[math.floor(side * scale + 0.5) for side in x.shape[2:]] for scale in (0.75, 0.5)]
    three_quarters, half = [scores(resize(x, size)) for size in sizes]
    three_quarters = resize(three_quarters, whole.shape[2:])
    fused = torch.maximum(torch.maximum(whole, three_quarters), resize(half, whole.shape[2:]))
    return {"logits": fused, "logits_100": whole, "logits_75": three_quarters, "logits_50": half}


def main(folder):
    torch.set_num_threads(1)
    networks = {
        "largefov_resnet101": lambda w, x: {"logits": large_fov(w, resnet101(w, x, 8, False))},
        "deeplabv2_vgg16": lambda w, x: {"logits": aspp_l_vgg16(w, vgg16(w, x))},
        "deeplabv2_resnet101": lambda w, x: msc(lambda x: aspp_l(w, resnet101(w, x, 8, True)), x),
        "deeplabv3_resnet101": lambda w, x: {"logits": aspp(w, resnet101(w, x, 8, False), 8)},
        "deeplabv3_resnet101_os16": lambda w, x: {"logits": aspp(w, resnet101(w, x, 16, False), 16)},
    }
    for name, network in networks.items():
        w = Weights()
        x = tensor(f"{SALT}/{name}", (1, 3, 41, 49), -2, 2)
        with torch.no_grad():
            tensors = network(w, x)
        known = {
            "network": name.removesuffix("_os16"),
            "width_divisor": DIVISOR,
            "parameters": w.count(),
            "input_name": f"{SALT}/{name}",
            "input_shape": "1,3,41,49",
            "input_lo": -2,
            "input_hi": 2,
        }
        if name.startswith("deeplabv3"):
            known["output_stride"] = 16 if name.endswith("_os16") else 8
        save(f"{folder}/{name}_w{DIVISOR}.safetensors", tensors, known)


if __name__ == "__main__":
    main(sys.argv[1])
