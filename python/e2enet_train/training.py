"""The state of a training run and one step of it: schedules, sparse updates, the running average."""
import math
from dataclasses import fields
from typing import Dict, Optional

import torch

from . import checkpoint, dsff, export, loss as losses
from .network import Architecture, E2ENet, sparse_parameter_names
from .settings import DEFAULT_DENSITY, Settings

SQUARES_DECAY = 0.99  # of AdamW's second moment


def layer_densities(network: E2ENet, settings: Settings) -> Dict[str, Optional[float]]:
    """Density of every sparse weight, None for the initial model's; `layer_density` names a layer as the model file does
    (fusion.0.1.0, up.0.1) or a family of them (fusion, fusion.0)."""
    densities = {}
    used = set()
    for name in sparse_parameter_names(network):
        densities[name] = settings.density
        for prefix in sorted(settings.layer_density, key=len):
            if name.startswith(prefix + "."):
                densities[name] = settings.layer_density[prefix]
                used.add(prefix)
    unknown = sorted(set(settings.layer_density) - used)
    if unknown:
        raise ValueError(f"layer_density: {unknown[0]}: not a sparse layer of this architecture")
    return densities


def architecture_of(plan: dict) -> Architecture:
    return Architecture(**{f.name: plan[f.name] for f in fields(Architecture)})


class Training:
    """The state of a run and one step of it; knows nothing of files."""

    def __init__(self, architecture: Architecture, settings: Settings, device="cpu"):
        self.settings = settings
        self.device = torch.device(device)
        self.network = E2ENet(architecture)
        self.network.initialise(settings.seed)
        self.network.to(self.device)
        self.network.precision = getattr(torch, settings.precision)
        self.weights = {name: dict(self.network.named_parameters())[name]
                        for name in sparse_parameter_names(self.network)}
        self.densities = layer_densities(self.network, settings)
        self.masks = dsff.random_masks(
            self.weights,
            {name: DEFAULT_DENSITY if density is None else density for name, density in self.densities.items()},
            settings.seed)
        with torch.no_grad():
            for name, weight in self.weights.items():
                dsff.apply_mask(weight, self.masks[name])
        self.optimizer = self.make_optimizer()
        # The network that is validated and exported: the running average of the one that is trained, or that itself.
        self.averaged = self.network
        if settings.average:
            self.averaged = E2ENet(architecture).to(self.device)
            self.averaged.load_state_dict(self.network.state_dict())
            self.averaged.precision = self.network.precision
        self.iteration = 0
        self.seconds = 0.0
        self.best_dice = -1.0

    def make_optimizer(self):
        settings = self.settings
        if settings.optimizer == "sgd":
            return torch.optim.SGD(self.network.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
                                   weight_decay=settings.weight_decay, nesterov=True)
        return torch.optim.AdamW(self.network.parameters(), lr=settings.learning_rate,
                                 betas=(settings.momentum, SQUARES_DECAY), weight_decay=settings.weight_decay)

    def start_from(self, model) -> None:
        """Weights and masks of a model file of the same architecture instead of random ones. Where the settings ask for
        another density than the file has, its smallest kernels are dropped, or random ones grown from zero."""
        own, given = self.network.architecture, export.network_of(model).architecture
        for key in ("input_channels", "classes", "base_features", "max_features", "pool_strides", "groups"):
            if getattr(own, key) != getattr(given, key):
                raise ValueError(f"initial model: {key}: expected {getattr(own, key)}, found {getattr(given, key)}")
        self.network.load_state_dict(export.network_of(model).state_dict())
        masks = export.masks_of(model)
        for index, (name, mask) in enumerate(self.masks.items()):
            asked_for = int(mask.sum())
            mask.copy_(masks[name])
            if self.densities[name] is not None:
                dsff.resize(self.weights[name], mask, asked_for, self.settings.seed * 1000003 + index)
        self.averaged.load_state_dict(self.network.state_dict())

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        if self.settings.iterations is not None:
            return min(1.0, self.iteration / self.settings.iterations)
        return min(1.0, self.seconds / (self.settings.hours * 3600.0))

    @property
    def finished(self) -> bool:
        return self.progress >= 1.0

    def step(self, image: torch.Tensor, labels: torch.Tensor):
        """One iteration: (loss, kernels moved by the sparse update before it, learning rate)."""
        settings = self.settings
        # Before the iteration and not after it: what is validated has had the whole interval to grow.
        moved = 0
        if self.iteration > 0 and self.iteration % settings.update_interval == 0:
            moved = self.update_connectivity()
        rate = settings.learning_rate * (1.0 - self.progress)**0.9
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.network(image.to(self.device))
        loss = losses.deep_supervision_loss(outputs, labels.to(self.device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"iteration {self.iteration}: the loss is {value}")
        loss.backward()
        for name, weight in self.weights.items():
            dsff.apply_mask(weight.grad, self.masks[name])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_limit)
        self.optimizer.step()
        self.apply_masks()
        self.iteration += 1
        self.update_average()
        return value, moved, rate

    def moments(self, parameter) -> Dict[str, torch.Tensor]:
        """What the optimiser remembers of every value of a parameter."""
        return {key: value for key, value in self.optimizer.state[parameter].items()
                if torch.is_tensor(value) and value.shape == parameter.shape}

    def apply_masks(self) -> None:
        """Absent kernels are zero, and so is all that the optimiser remembers of them: whatever rule it follows, it
        cannot move them."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                for values in (weight, *self.moments(weight).values()):
                    dsff.apply_mask(values, self.masks[name])

    @torch.no_grad()
    def update_average(self) -> None:
        if self.averaged is self.network:
            return
        # At first the average of all so far, not of the random beginning.
        decay = min(self.settings.average, self.iteration / (self.iteration + 9.0))
        for average, parameter in zip(self.averaged.parameters(), self.network.parameters()):
            average.lerp_(parameter, 1.0 - decay)

    def check_masks(self) -> None:
        """Refuses a value outside a mask in what is validated or exported."""
        for network in (self.network, self.averaged):
            dsff.check_masks(dict(network.named_parameters()), self.masks)

    def update_connectivity(self) -> int:
        fraction = dsff.drop_fraction(self.progress, self.settings.drop_first, self.settings.drop_last)
        moved = 0
        for index, (name, weight) in enumerate(self.weights.items()):
            seed = (self.settings.seed * 1000003 + self.iteration) * 1009 + index
            moved += dsff.drop_and_grow(weight, self.masks[name], fraction, seed)
            if self.averaged is not self.network:
                with torch.no_grad():
                    dsff.apply_mask(self.averaged.get_parameter(name), self.masks[name])
        self.apply_masks()
        return moved

    def state(self) -> dict:
        return checkpoint.state_of(self)

    def load_state(self, state: dict) -> None:
        checkpoint.load_state(self, state)
