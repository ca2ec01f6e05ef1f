import copy

import pytest
import torch
from torch import nn

from drivelab_shared.modules import freeze, grad_norm, num_parameters, parameter_groups


def ids(parameters):
    return {id(parameter) for parameter in parameters}


def test_a_parent_in_train_mode_does_not_wake_its_frozen_child():
    child = freeze(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)))
    parent = nn.Sequential(nn.Linear(3, 3), child)
    parent.train()
    assert parent[0].training
    assert not any(module.training for module in child.modules())
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    mean_before = child[1].running_mean.clone()
    assert torch.equal(child(x), child(x))
    assert torch.equal(child[1].running_mean, mean_before)


def test_train_and_eval_of_a_frozen_module_still_return_it():
    frozen = freeze(nn.Linear(2, 2))
    assert frozen.train() is frozen
    assert frozen.eval() is frozen


def test_a_copy_of_a_frozen_module_is_frozen_by_itself():
    original = freeze(nn.Linear(2, 2))
    duplicate = copy.deepcopy(original)
    assert duplicate.train() is duplicate
    assert not duplicate.training


def test_gradients_pass_through_a_frozen_module_to_what_is_before_it():
    trunk, judge = nn.Linear(3, 4), freeze(nn.Linear(4, 2))
    judge(trunk(torch.ones(1, 3))).sum().backward()
    assert torch.equal(trunk.bias.grad, judge.weight.sum(0))
    assert judge.weight.grad is None


def test_only_matrices_and_kernels_decay():
    conv, norm, linear = nn.Conv1d(2, 3, 3), nn.LayerNorm(4), nn.Linear(4, 5)
    decayed, plain = parameter_groups(nn.Sequential(conv, norm, linear), 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert ids(decayed["params"]) == ids([conv.weight, linear.weight])
    assert ids(plain["params"]) == ids([conv.bias, norm.weight, norm.bias, linear.bias])


def test_an_optimizer_is_not_given_frozen_parameters():
    module = nn.Sequential(nn.Linear(2, 2), freeze(nn.Linear(2, 2)))
    given = [parameter for group in parameter_groups(module, 0.1) for parameter in group["params"]]
    assert ids(given) == ids(module[0].parameters())


def test_the_gradient_norm_is_the_euclidean_one_over_all_gradients_there_are():
    weight, bias, unused = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(3))
    weight.grad, bias.grad = torch.tensor([[1.0, 2.0], [-4.0, 10.0]]), torch.tensor([-2.0])
    assert grad_norm([weight, bias, unused]) == pytest.approx(125**0.5)  # 1 + 4 + 16 + 100 + 4
    assert grad_norm([unused]) == 0.0


def test_parameters_are_counted_frozen_ones_included():
    assert num_parameters(nn.Sequential(nn.Linear(3, 4), freeze(nn.Linear(4, 2)))) == 3 * 4 + 4 + 4 * 2 + 2
