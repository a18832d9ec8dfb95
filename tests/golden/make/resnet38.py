"""Six steps of ResNet38 with the optimizer of psa's and RRM's released code: `python resnet38.py ../train`.

The optimizer is PyTorch's own, called as they call it: `SGD(groups, lr, weight_decay)`, whose third argument is momentum.
"""

import sys

import torch
import torch.nn.functional as F
from formula import SALT, Weights, save, tensor

FROZEN = ("conv1a.", "b2.", "b2_1.", "b2_2.")
STEPS, TOTAL = 6, 10


def block(w, name, x, mid, output, stride=1, first=1, dilation=1):
    a = F.relu(w.norm(f"{name}.bn_branch2a", x))
    same = x.shape[1] == output and stride == 1
    shortcut = x if same else w.conv(f"{name}.conv_branch1", a, output, 1, stride)
    y = w.conv(f"{name}.conv_branch2a", a, mid, 3, stride, first)
    y = F.relu(w.norm(f"{name}.bn_branch2b1", y))
    return shortcut + w.conv(f"{name}.conv_branch2b1", y, output, 3, dilation=dilation)


def bottleneck(w, name, x, output):
    a = F.relu(w.norm(f"{name}.bn_branch2a", x))
    y = w.conv(f"{name}.conv_branch2a", a, output // 4, 1)
    y = F.relu(w.norm(f"{name}.bn_branch2b1", y))
    y = w.conv(f"{name}.conv_branch2b1", y, output // 2, 3, dilation=4)
    y = F.relu(w.norm(f"{name}.bn_branch2b2", y))
    return w.conv(f"{name}.conv_branch1", a, output, 1) + w.conv(f"{name}.conv_branch2b2", y, output, 1)


def features(w, x, divisor):
    c = lambda channels: channels // divisor
    x = w.conv("conv1a", x, c(64), 3)
    for level, (count, width) in enumerate([(3, 128), (3, 256), (6, 512)], 2):
        for i in range(count):
            name = f"b{level}" if i == 0 else f"b{level}_{i}"
            x = block(w, name, x, c(width), c(width), 2 if i == 0 else 1)
    for i in range(3):
        x = block(w, "b5" if i == 0 else f"b5_{i}", x, c(512), c(1024), first=1 if i == 0 else 2, dilation=2)
    x = bottleneck(w, "b6", x, c(2048))
    x = bottleneck(w, "b7", x, c(4096))
    return F.relu(w.norm("bn7", x))


def logits(w, x, classes=20):
    return w.conv("fc8", x.mean((2, 3), keepdim=True), classes, 1).flatten(1)


def classifier(w, x, y, divisor):
    return [F.multilabel_soft_margin_loss(logits(w, features(w, x, divisor)), y)]


def joint(w, x, y, labels, divisor):
    x_ = features(w, x, divisor)
    classification = F.multilabel_soft_margin_loss(logits(w, x_), y)
    hidden = F.relu(w.conv("fc8_seg_conv1", x_, 512 // divisor, 3, dilation=12, bias=True))
    scores = w.conv("fc8_seg_conv2", hidden, 21, 3, dilation=12, bias=True)
    scores = F.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=False)
    background = F.cross_entropy(scores, torch.where(labels == 0, labels, 255), ignore_index=255)
    foreground = F.cross_entropy(scores, torch.where(labels > 0, labels, 255), ignore_index=255)
    return [classification + background + foreground, classification, background, foreground]


def train(losses, fresh, frozen, lr, weight_decay, kept):
    w = Weights()
    losses(w)
    before = {name: value.clone() for name, value in w.items()}
    groups = [[], [], [], []]
    for name, value in w.items():
        layer, part = name.rsplit(".", 1)
        if ".bn_" in name or name.startswith("bn7") or name.startswith(frozen):
            continue
        value.requires_grad_(True)
        groups[2 * layer.startswith(fresh) + (part == "bias")].append(value)
    settings = zip(groups, (1, 2, 10, 20), (weight_decay, 0, weight_decay, 0))
    settings = [{"params": g, "lr": factor * lr, "weight_decay": decay} for g, factor, decay in settings if g]
    rates = [group["lr"] for group in settings]
    optimizer = torch.optim.SGD(settings, lr, weight_decay)
    assert all(group["momentum"] == weight_decay for group in optimizer.param_groups)
    rows = []
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * (1 - step / TOTAL) ** 0.9
        parts = losses(w)
        optimizer.zero_grad()
        parts[0].backward()
        optimizer.step()
        rows.append([part.item() for part in parts])
    print(rows)
    tensors = {"losses": torch.tensor(rows, dtype=torch.float64)}
    for name in kept:
        tensors[name] = w[name]
        tensors[f"change/{name}"] = w[name].detach() - before[name]
    return tensors


def meta(kind, lr, decay, frozen, divisor, **more):
    return {
        "salt": SALT,
        "input": f"tensor(SALT/train/{kind}/x, [2,3,40,40], -2, 2)",
        "targets": f"tensor(SALT/train/{kind}/y, [2,20], 0, 1) > 0.7",
        "groups": f"base lr {lr}, decay {decay}; {frozen} frozen; biases 2x without decay; "
        "fresh layers 10x, their biases 20x",
        "momentum": decay,
        "dampening": 0,
        "schedule": f"poly 0.9 over {TOTAL} steps",
        "steps": STEPS,
        "dropout": "off",
        "width_divisor": divisor,
        "tolerance": "a tenth of the usual",
        **more,
    }


def inputs(kind):
    x = tensor(f"{SALT}/train/{kind}/x", (2, 3, 40, 40), -2, 2)
    y = (tensor(f"{SALT}/train/{kind}/y", (2, 20), 0, 1) > 0.7).double()
    return x, y


def main(folder):
    torch.set_num_threads(1)
    x, y = inputs("cls_released")
    kept = ["b4.conv_branch1.weight", "b6.conv_branch2a.weight", "fc8.weight"]
    tensors = train(lambda w: classifier(w, x, y, 8), ("fc8",), FROZEN, 0.01, 5e-4, kept)
    known = meta("cls_released", 0.01, 5e-4, "conv1a, b2, b2_1, b2_2 and all batch norm", 8)
    known |= {"loss": "multilabel soft margin", "fresh": "fc8", "recipe": "resnet38, classify"}
    save(f"{folder}/train_resnet38_cls_released.safetensors", tensors, known)

    x, y = inputs("rrm_released")
    labels = tensor(f"{SALT}/train/rrm_released/l", (2, 40, 40), 0, 30).floor().long()
    labels = torch.where(labels > 20, 255, torch.where(labels > 10, 0, labels))
    kept = ["conv1a.weight", "fc8.weight", "fc8_seg_conv1.bias", "fc8_seg_conv2.weight", "fc8_seg_conv2.bias"]
    tensors = train(lambda w: joint(w, x, y, labels, 8), ("fc8",), (), 7e-4, 1e-5, kept)
    known = meta("rrm_released", 7e-4, 1e-5, "nothing but batch norm", 8)
    known |= {
        "loss": "classification + background CE + foreground CE at 40x40 (bilinear, half-pixel), no dense energy; "
        "columns: total, classification, background, foreground",
        "labels": "floor(tensor(SALT/train/rrm_released/l, [2,40,40], 0, 30)); above 20 = ignore, 11 to 20 = 0",
        "fresh": "fc8, fc8_seg_conv1, fc8_seg_conv2",
    }
    save(f"{folder}/train_resnet38_rrm_released.safetensors", tensors, known)


if __name__ == "__main__":
    main(sys.argv[1])
