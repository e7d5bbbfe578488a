"""Namespaces of layers with a set of fused functions."""

from types import SimpleNamespace

import pytest
from torch import nn


@pytest.fixture
def fused_ops():
    """Makes torch's layers with a set of fused functions."""
    layers = {name: getattr(nn, name) for name in ("Linear", "Conv2d", "GroupNorm", "LayerNorm")}
    return lambda kernels: SimpleNamespace(**layers, kernels=kernels)
