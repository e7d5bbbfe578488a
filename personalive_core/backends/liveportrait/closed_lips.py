"""The expression with closed lips that LivePortrait measures a driving picture's against.

The numbers are data of the LivePortrait repository (github.com/KwaiVGI/LivePortrait), used under its licence:

MIT License. Copyright (c) 2024 Kuaishou Visual Generation and Interaction Center.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CLOSED = (
    (-9.4524e-5, 0.00024222, -4.00974e-5),
    (0.000208596, 0.000468054, 1.27464e-5),
    (-0.000124602, 0.000324972, 4.425e-6),
    (0.000119652, -0.000456624, 5.40852e-5),
    (-0.000265254, -7.4598e-5, -1.5528e-5),
    (-3.34884e-5, -0.000183036, -3.49404e-6),
    (-4.75428e-7, -4.52466e-7, 1.59498e-6),
    (-0.000541296, 0.0026328, 7.2486e-6),
    (-1.1694e-5, 5.00502e-6, 9.9888e-6),
    (8.0286e-7, 5.19132e-6, -0.000409344),
    (0.000166878, -1.9815e-5, -8.8548e-5),
    (-1.51536e-5, 8.2506e-5, 5.94012e-6),
    (-2.61054e-7, 2.7591e-6, 2.21028e-6),
    (-6.6282e-5, -6.8286e-5, -3.45318e-6),
    (-0.00083262, -0.00179592, -2.59176e-6),
    (6.9714e-6, 3.65514e-5, -1.8978e-6),
    (-4.80876e-6, 7.1148e-6, -1.03236e-5),
    (-0.00063684, -0.0011661, 5.62314e-5),
    (0.00028329, -1.45656e-5, 1.09746e-5),
    (-4.16022e-6, -0.0150906, -0.0025494),
    (0.000222474, 0.00562788, 0.00272646),
)


def closed_lips() -> Tensor:
    """[1, 21, 3] float32."""
    return torch.tensor(_CLOSED)[None]
