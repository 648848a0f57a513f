"""The state of a training as checkpoint.pt and best.pt hold it: without the absent kernels."""
from typing import Dict

import torch

from .network import E2ENet

CHECKPOINT_FORMAT = 2


def packed(training, name: str, values: torch.Tensor) -> torch.Tensor:
    """A parameter, or what belongs to each of its values, without the absent kernels."""
    return values[training.masks[name]] if name in training.masks else values


def unpack(training, name: str, packed: torch.Tensor, target: torch.Tensor) -> None:
    with torch.no_grad():
        if name in training.masks:
            target.zero_()
            target[training.masks[name]] = packed.to(target)
        else:
            target.copy_(packed)


def packed_network(training, network: E2ENet) -> Dict[str, torch.Tensor]:
    return {name: packed(training, name, parameter.detach()) for name, parameter in network.named_parameters()}


def load_network(training, network: E2ENet, packed: Dict[str, torch.Tensor], masks: Dict[str, torch.Tensor]) -> None:
    for name, mask in masks.items():
        training.masks[name].copy_(mask)
    for name, parameter in network.named_parameters():
        unpack(training, name, packed[name], parameter)


def state_of(training) -> dict:
    training.check_masks()
    optimizer = {}
    for name, parameter in training.network.named_parameters():
        entries = training.optimizer.state.get(parameter, {})
        moments = training.moments(parameter)
        optimizer[name] = {key: packed(training, name, value) if key in moments else value
                           for key, value in entries.items()}
    state = {"format": CHECKPOINT_FORMAT, "network": packed_network(training, training.network), "optimizer": optimizer,
             "masks": training.masks, "iteration": training.iteration, "seconds": training.seconds,
             "best_dice": training.best_dice}
    if training.averaged is not training.network:
        state["average"] = packed_network(training, training.averaged)
    return state


def load_state(training, state: dict) -> None:
    if state.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(f"checkpoint: format: expected {CHECKPOINT_FORMAT}, found {state.get('format')}")
    load_network(training, training.network, state["network"], state["masks"])
    for name, parameter in training.network.named_parameters():
        entries = {}
        for key, value in state["optimizer"][name].items():
            if torch.is_tensor(value) and value.shape == packed(training, name, parameter).shape:
                entries[key] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                unpack(training, name, value, entries[key])
            else:
                entries[key] = value
        if entries:
            training.optimizer.state[parameter] = entries
    if training.averaged is not training.network:
        load_network(training, training.averaged, state["average"], state["masks"])
    training.iteration = state["iteration"]
    training.seconds = state["seconds"]
    training.best_dice = state["best_dice"]
