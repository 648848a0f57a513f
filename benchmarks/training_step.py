"""Seconds per training iteration: python3 benchmarks/training_step.py [--threads N] [--runs N]

The network of the hippocampus models (base 16, three poolings, patch 40x56x40), two patches an iteration. `Conv3d` is
the same network written with PyTorch's own 3D layers.
"""
import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import torch  # noqa: E402
import torch.nn.functional as functional  # noqa: E402

from e2enet_train import loss, machine, network, trainer  # noqa: E402


def volume_block(block, *parts):
    """DepthShiftBlock.forward on (B, C, D, H, W) tensors with 3D layers."""
    x = torch.cat(parts, 1)
    shifted = torch.zeros_like(x)
    depth = x.shape[2]
    for first, last, shift in network.shift_chunks(x.shape[1], block.groups):
        begin, end = max(0, shift), min(depth, depth + shift)
        shifted[:, first:last, begin:end] = x[:, first:last, begin - shift:end - shift]
    y = functional.conv3d(shifted, block.weight[:, :, None], stride=block.stride, padding=(0, 1, 1))
    y = functional.instance_norm(y, weight=block.norm_weight, bias=block.norm_bias)
    return functional.leaky_relu(y, network.NEGATIVE_SLOPE)


def volume_forward(net, x):
    a = net.architecture
    nodes = {}
    for i in range(a.levels + 1):
        x = volume_block(net.backbone[str(i)]["0"], x)
        x = nodes[i, 0] = volume_block(net.backbone[str(i)]["1"], x)
    for j in range(1, a.levels + 1):
        for i in range(a.levels - j + 1):
            weight = net.up[str(i)][str(j)].weight
            parts = [nodes[i, j - 1], functional.conv_transpose3d(nodes[i + 1, j - 1], weight.transpose(0, 1),
                                                                  stride=a.pool_strides[i])]
            if i > 0:
                parts.append(functional.max_pool3d(nodes[i - 1, j - 1], a.pool_strides[i - 1]))
            blocks = net.fusion[str(i)][str(j)]
            y = volume_block(blocks["0"], *parts)
            nodes[i, j] = volume_block(blocks["1"], y) if "1" in blocks else y
    return [functional.conv3d(nodes[i, a.levels - i], net.head[str(i)].weight[:, :, None, None, None])
            for i in range(len(net.head))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = torch.randn(2, 1, 40, 56, 40, generator=torch.Generator().manual_seed(1))
    labels = (image[:, 0] > 1).long()
    variants = [("Conv3d, float32", torch.float32, volume_forward, False),
                ("Conv3d, float32, memory kept", torch.float32, volume_forward, True),
                ("folded, float32, memory kept", torch.float32, network.E2ENet.__call__, True)]
    if machine.has_fast_bfloat16(torch.device("cpu")):
        variants.append(("folded, bfloat16, memory kept", torch.bfloat16, network.E2ENet.__call__, True))
    for name, precision, forward, keep in variants:
        if keep:
            machine.keep_freed_memory()
        net = network.E2ENet(network.Architecture(1, 3, 16, [(2, 2, 2)] * 3, (40, 56, 40)))
        net.initialise(1)
        net.precision = precision
        optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.99, nesterov=True)
        seconds, processor = [], []
        for _ in range(options.runs + 1):
            begin, begin_processor = time.perf_counter(), time.process_time()
            optimizer.zero_grad(set_to_none=True)
            value = loss.deep_supervision_loss(forward(net, image), labels)
            value.backward()
            optimizer.step()
            seconds.append(time.perf_counter() - begin)
            processor.append(time.process_time() - begin_processor)
        print(f"{name}: median {sorted(seconds[1:])[options.runs // 2]:.3f} s, min {min(seconds[1:]):.3f} s, "
              f"processor time min {min(processor[1:]):.3f} s, "
              f"last loss {float(value):.5f}", flush=True)


if __name__ == "__main__":
    main()
