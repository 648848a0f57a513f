"""The network, written for speed on a CPU as well as a GPU.

Every activation is one tensor of shape (batch, depth, height, width, channels), contiguous. Folding depth into the
batch makes the 1x3x3 convolution a channels-last 2D convolution, which is several times faster than `Conv3d`; the
depth shift happens while the parts of a fusion node are copied side by side, so the concatenation costs nothing more.

Parameters have the names of docs/model-file.md, with the dense shape `.weight` where the file has `.kernels` and
`.connectivity`. The bias of a convolution is not a parameter: the instance norm that follows takes every constant away,
so its gradient is zero and the model file gets zeros.
"""
import math
from dataclasses import asdict, dataclass
from typing import List, Tuple

import torch
import torch.nn.functional as functional
from torch import nn

NEGATIVE_SLOPE = 0.01
NORM_EPSILON = 1e-5
HEADS_AT_MOST = 4


@dataclass
class Architecture:
    """The architecture keys of a model file."""

    input_channels: int
    classes: int
    base_features: int
    pool_strides: List[Tuple[int, int, int]]
    patch_size: Tuple[int, int, int]
    max_features: int = 320
    groups: int = 5

    def __post_init__(self):
        self.pool_strides = [tuple(int(s) for s in stride) for stride in self.pool_strides]
        self.patch_size = tuple(int(s) for s in self.patch_size)
        if not self.pool_strides:
            raise ValueError("pool_strides: expected at least one pooling step, found none")
        if self.groups < 1 or self.groups % 2 == 0:
            raise ValueError(f"groups: expected an odd number, found {self.groups}")
        for axis in range(3):
            total = math.prod(stride[axis] for stride in self.pool_strides)
            if self.patch_size[axis] < 1 or self.patch_size[axis] % total != 0:
                raise ValueError(
                    f"patch_size: expected a multiple of {total} on axis {axis}, found {self.patch_size[axis]}")

    @property
    def levels(self) -> int:
        """L, the number of pooling steps."""
        return len(self.pool_strides)

    def features(self, level: int) -> int:
        return min(self.base_features * 2**level, self.max_features)

    def to_json(self) -> dict:
        values = asdict(self)
        values["pool_strides"] = [list(stride) for stride in self.pool_strides]
        values["patch_size"] = list(self.patch_size)
        return values


def shift_chunks(channels: int, groups: int) -> List[Tuple[int, int, int]]:
    """(first channel, one past the last, slices by which the chunk moves towards higher depth) of every chunk."""
    size = -(-channels // groups)
    return [(first, min(first + size, channels), index - groups // 2)
            for index, first in enumerate(range(0, channels, size))]


def _shift_pieces(part_channels: Tuple[int, ...], groups: int):
    """Chunks cut at the borders of the concatenated parts: (part, first and last channel in it, first channel of the
    concatenation, shift)."""
    pieces = []
    offset = 0
    for part, channels in enumerate(part_channels):
        for first, last, shift in shift_chunks(sum(part_channels), groups):
            begin, end = max(first, offset), min(last, offset + channels)
            if begin < end:
                pieces.append((part, begin - offset, end - offset, begin, shift))
        offset += channels
    return pieces


class _ShiftedConcatenation(torch.autograd.Function):
    """Parts (B, D, H, W, C_p) -> shift(concatenation) (B, ceil(D / step), H, W, sum C_p): output slice o is shifted
    slice o * step, so that a convolution of depth stride `step` computes no slice it throws away."""

    @staticmethod
    def forward(ctx, groups, step, *parts):
        batch, depth, height, width, _ = parts[0].shape
        ctx.pieces = _shift_pieces(tuple(part.shape[-1] for part in parts), groups)
        ctx.step = step
        ctx.shapes = [part.shape for part in parts]
        out_depth = -(-depth // step)
        out = parts[0].new_empty(batch, out_depth, height, width, sum(part.shape[-1] for part in parts))
        for part, first, last, target, shift in ctx.pieces:
            begin, end = _ShiftedConcatenation.valid(depth, out_depth, step, shift)
            channels = slice(target, target + last - first)
            out[:, :begin, :, :, channels] = 0
            out[:, end:, :, :, channels] = 0
            if begin < end:
                source = slice(begin * step - shift, (end - 1) * step - shift + 1, step)
                out[:, begin:end, :, :, channels] = parts[part][:, source, :, :, first:last]
        return out

    @staticmethod
    def backward(ctx, gradient):
        results = []
        for shape, needed in zip(ctx.shapes, ctx.needs_input_grad[2:]):
            results.append(gradient.new_empty(shape) if needed else None)
        out_depth = gradient.shape[1]
        for part, first, last, target, shift in ctx.pieces:
            if results[part] is None:
                continue
            depth = ctx.shapes[part][1]
            begin, end = _ShiftedConcatenation.valid(depth, out_depth, ctx.step, shift)
            result = results[part][..., first:last]
            if ctx.step != 1 or begin >= end:
                result.zero_()
            else:
                result[:, :begin - shift] = 0
                result[:, end - shift:] = 0
            if begin < end:
                source = slice(begin * ctx.step - shift, (end - 1) * ctx.step - shift + 1, ctx.step)
                result[:, source] = gradient[:, begin:end, :, :, target:target + last - first]
        return (None, None, *results)

    @staticmethod
    def valid(depth, out_depth, step, shift):
        """Output slices [begin, end) whose source slice o * step - shift exists."""
        begin = max(0, -(-shift // step))
        end = min(out_depth, (depth - 1 + shift) // step + 1)
        return min(begin, out_depth), max(end, min(begin, out_depth))


def shifted_concatenation(parts, groups: int, step: int = 1):
    return _ShiftedConcatenation.apply(groups, step, *parts)


def convolution_1x3x3(x, weight, stride_hw):
    """x (B, D, H, W, C), weight (O, C, 3, 3) -> (B, D, H', W', O)."""
    batch, depth = x.shape[:2]
    folded = x.flatten(0, 1).permute(0, 3, 1, 2)
    weight = weight.to(x.dtype).contiguous(memory_format=torch.channels_last)
    y = functional.conv2d(folded, weight, stride=stride_hw, padding=1).permute(0, 2, 3, 1)
    return y.contiguous().unflatten(0, (batch, depth))


def norm_and_activation(x, gamma, beta):
    """LeakyReLU(InstanceNorm(x)). The batch norm of one sample with folded depth is its instance norm, and of all
    norms of PyTorch it alone has a fast channels-last kernel. That kernel's float32 statistics lose up to three digits
    on a bottleneck of a few voxels, which training does not notice; without gradients the plain norm is used."""
    if not torch.is_grad_enabled():
        wide = x.permute(0, 4, 1, 2, 3).contiguous().to(gamma.dtype)
        y = functional.instance_norm(wide, weight=gamma, bias=beta, eps=NORM_EPSILON)
        y = functional.leaky_relu_(y, NEGATIVE_SLOPE)
        return y.permute(0, 2, 3, 4, 1).contiguous().to(x.dtype)
    samples = []
    for sample in x.unbind(0):
        y = functional.batch_norm(sample.permute(0, 3, 1, 2), None, None, gamma, beta, True, 0.0, NORM_EPSILON)
        samples.append(functional.leaky_relu_(y, NEGATIVE_SLOPE).permute(0, 2, 3, 1))
    return samples[0].unsqueeze(0) if len(samples) == 1 else torch.stack(samples)


def transposed_convolution(x, weight):
    """Kernel = stride: every input voxel makes its own block of outputs. x (B, D, H, W, C), weight (O, C, sd, sh, sw).
    """
    outputs, inputs, sd, sh, sw = weight.shape
    batch, depth, height, width, _ = x.shape
    flat = weight.permute(1, 2, 3, 4, 0).reshape(inputs, -1).to(x.dtype)
    y = x.reshape(-1, inputs) @ flat
    y = y.view(batch, depth, height, width, sd, sh, sw, outputs).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return y.reshape(batch, depth * sd, height * sh, width * sw, outputs)


class _Maximum(torch.autograd.Function):
    """max(a, b) whose gradient goes to a where they are equal; `torch.maximum` halves it there, at several times the
    cost on a CPU."""

    @staticmethod
    def forward(ctx, a, b):
        first = (a >= b).to(a.dtype)
        ctx.save_for_backward(first)
        return torch.maximum(a, b)

    @staticmethod
    def backward(ctx, gradient):
        first, = ctx.saved_tensors
        to_first = gradient * first
        return to_first, gradient - to_first


def max_pooling(x, stride):
    """Kernel = stride: in the plane, then across slices. A last incomplete window is dropped."""
    batch, depth = x.shape[:2]
    sd, sh, sw = stride
    if (sh, sw) != (1, 1):
        folded = x.flatten(0, 1).permute(0, 3, 1, 2)
        x = functional.max_pool2d(folded, (sh, sw)).permute(0, 2, 3, 1).unflatten(0, (batch, depth))
    if sd != 1:
        slices = x.narrow(1, 0, depth // sd * sd).unflatten(1, (depth // sd, sd))
        x = slices.select(2, 0)
        for index in range(1, sd):
            x = _Maximum.apply(x, slices.select(2, index))
    return x


class DepthShiftBlock(nn.Module):
    """LeakyReLU(InstanceNorm(Conv_1x3x3(shift(concatenation of the parts))))."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride=(1, 1, 1)):
        super().__init__()
        self.groups = groups
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.norm_weight = nn.Parameter(torch.ones(outputs))
        self.norm_bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, *parts):
        x = shifted_concatenation(parts, self.groups, self.stride[0])
        x = convolution_1x3x3(x, self.weight, self.stride[1:])
        return norm_and_activation(x, self.norm_weight, self.norm_bias)


class UpwardFlow(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *stride))

    def forward(self, x):
        return transposed_convolution(x, self.weight)


class Head(nn.Module):
    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, inputs))

    def forward(self, x):
        """Logits (B, classes, D, H, W), float32 whatever the precision of the network; in memory the classes of a voxel
        lie side by side, as the loss wants them."""
        return (x @ self.weight.to(x.dtype).t()).float().permute(0, 4, 1, 2, 3)


class E2ENet(nn.Module):
    """Image (B, C, D, H, W) -> logits of the deep supervision heads, the full resolution first.

    `precision` is the type of the activations inside; parameters and logits are float32.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.precision = torch.float32
        a = architecture
        levels = a.levels
        self.backbone = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.fusion = nn.ModuleDict()
        self.head = nn.ModuleDict()
        for i in range(levels + 1):
            inputs = a.input_channels if i == 0 else a.features(i - 1)
            stride = (1, 1, 1) if i == 0 else a.pool_strides[i - 1]
            self.backbone[str(i)] = nn.ModuleDict({
                "0": DepthShiftBlock(inputs, a.features(i), a.groups, stride),
                "1": DepthShiftBlock(a.features(i), a.features(i), a.groups)})
        for i in range(levels):
            self.up[str(i)] = nn.ModuleDict()
            self.fusion[str(i)] = nn.ModuleDict()
            for j in range(1, levels - i + 1):
                self.up[str(i)][str(j)] = UpwardFlow(a.features(i + 1), a.features(i), a.pool_strides[i])
                inputs = 2 * a.features(i) + (a.features(i - 1) if i > 0 else 0)
                blocks = nn.ModuleDict({"0": DepthShiftBlock(inputs, a.features(i), a.groups)})
                if i + j == levels:
                    blocks["1"] = DepthShiftBlock(a.features(i), a.features(i), a.groups)
                self.fusion[str(i)][str(j)] = blocks
        # As in nnU-Net the coarsest output is not supervised: it is the bottleneck itself.
        for i in range(min(HEADS_AT_MOST, levels)):
            self.head[str(i)] = Head(a.features(i), a.classes)

    def initialise(self, seed: int):
        """He initialisation of every weight, from its own generator, so that it depends on nothing but the seed."""
        generator = torch.Generator().manual_seed(seed)
        gain = math.sqrt(2.0 / (1.0 + NEGATIVE_SLOPE**2))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith(".norm_weight"):
                    parameter.fill_(1.0)
                elif name.endswith(".norm_bias"):
                    parameter.zero_()
                else:
                    # A transposed convolution whose kernel is its stride adds one kernel value per input channel.
                    fan_in = parameter.shape[1] if name.startswith("up.") else parameter[0].numel()
                    values = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(values * (gain / math.sqrt(fan_in)))

    def nodes(self, image):
        """All nodes x[i][j] as {(i, j): (B, D, H, W, C)}."""
        levels = self.architecture.levels
        strides = self.architecture.pool_strides
        x = {}
        current = image.permute(0, 2, 3, 4, 1).contiguous().to(self.precision)
        for i in range(levels + 1):
            blocks = self.backbone[str(i)]
            current = blocks["1"](blocks["0"](current))
            x[i, 0] = current
        for j in range(1, levels + 1):
            for i in range(levels - j + 1):
                parts = [x[i, j - 1], self.up[str(i)][str(j)](x[i + 1, j - 1])]
                if i > 0:
                    parts.append(max_pooling(x[i - 1, j - 1], strides[i - 1]))
                blocks = self.fusion[str(i)][str(j)]
                current = blocks["0"](*parts)
                x[i, j] = blocks["1"](current) if "1" in blocks else current
        return x

    def forward(self, image, heads: int = HEADS_AT_MOST):
        x = self.nodes(image)
        levels = self.architecture.levels
        return [self.head[str(i)](x[i, levels - i]) for i in range(min(heads, len(self.head)))]


def sparse_parameter_names(network: E2ENet) -> List[str]:
    """Weights that carry a connectivity mask: every transposed convolution and every convolution of a fusion node."""
    return [name for name, _ in network.named_parameters()
            if name.endswith(".weight") and name.split(".")[0] in ("up", "fusion")]
