"""Stable Diffusion 3.5 Medium's file, which the user places, and the keys and shapes that it must have."""

from __future__ import annotations

from ...weights.index import WeightFile
from .types import SD35_MEDIUM, TransformerSizes

SD35_REPO = "stabilityai/stable-diffusion-3.5-medium"
SD35_LICENCE = "the Stability AI Community License"
SD35_TRANSFORMER = "sd3.5-medium transformer"
CANVAS_FILES = (
    WeightFile(
        SD35_TRANSFORMER,
        SD35_REPO,
        "transformer/diffusion_pytorch_model.safetensors",
        "stable-diffusion-3.5-medium/transformer/diffusion_pytorch_model.safetensors",
        f"{SD35_LICENCE}; gated, never downloaded here",
    ),
)

TensorSizes = dict[str, tuple[int, ...]]
_TIME_CODE = 256  # numbers of diffusers' timestep code


def transformer_shapes(sizes: TransformerSizes = SD35_MEDIUM) -> TensorSizes:
    """Every key of an SD3.5 transformer in diffusers' layout, with its shape."""
    width, patch = sizes.width, sizes.patch_size
    shapes: TensorSizes = {
        "pos_embed.pos_embed": (1, sizes.pos_embed_max_size**2, width),
        "pos_embed.proj.weight": (width, sizes.in_channels, patch, patch),
        "pos_embed.proj.bias": (width,),
        **_perceptron("time_text_embed.timestep_embedder", _TIME_CODE, width),
        **_perceptron("time_text_embed.text_embedder", sizes.pooled_projection_dim, width),
        **_linear("context_embedder", sizes.joint_attention_dim, width),
        **_linear("norm_out.linear", width, 2 * width),
        **_linear("proj_out", width, patch * patch * sizes.in_channels),
    }
    for layer in range(sizes.num_layers):
        block = _block(sizes, layer in sizes.dual_attention_layers, layer == sizes.num_layers - 1)
        shapes |= {f"transformer_blocks.{layer}.{key}": shape for key, shape in block.items()}
    return shapes


def new_shapes(sizes: TransformerSizes = SD35_MEDIUM) -> TensorSizes:
    """Every key of the canvas model that is not the transformer's, with its shape."""
    shapes: TensorSizes = {
        "context": (1, 1, sizes.joint_attention_dim),
        "pooled": (1, sizes.pooled_projection_dim),
    }
    for layer in range(sizes.num_layers):
        shapes |= _norms(f"video.{layer}", ("norm_q", "norm_k"), sizes.attention_head_dim)
        for name in ("to_q", "to_k", "to_v", "to_out"):
            shapes |= _linear(f"video.{layer}.{name}", sizes.width, sizes.width)
    return shapes


def _block(sizes: TransformerSizes, dual: bool, last: bool) -> TensorSizes:
    """A layer; `dual`: attention among the picture's tokens besides; `last`: the prompt's tokens end there."""
    width, head = sizes.width, sizes.attention_head_dim
    layers = [
        _linear("norm1.linear", width, (9 if dual else 6) * width),
        _linear("norm1_context.linear", width, (2 if last else 6) * width),
        _norms("attn", ("norm_q", "norm_k", "norm_added_q", "norm_added_k"), head),
        _linear("ff.net.0.proj", width, 4 * width),
        _linear("ff.net.2", 4 * width, width),
    ]
    square = ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0"]
    layers += [_linear(f"attn.{name}", width, width) for name in [*square, *([] if last else ["to_add_out"])]]
    if not last:
        layers += [_linear("ff_context.net.0.proj", width, 4 * width), _linear("ff_context.net.2", 4 * width, width)]
    if dual:
        layers += [_linear(f"attn2.{name}", width, width) for name in ("to_q", "to_k", "to_v", "to_out.0")]
        layers.append(_norms("attn2", ("norm_q", "norm_k"), head))
    return {key: shape for layer in layers for key, shape in layer.items()}


def _linear(name: str, wide: int, out: int) -> TensorSizes:
    return {f"{name}.weight": (out, wide), f"{name}.bias": (out,)}


def _perceptron(name: str, wide: int, out: int) -> TensorSizes:
    return {**_linear(f"{name}.linear_1", wide, out), **_linear(f"{name}.linear_2", out, out)}


def _norms(owner: str, names: tuple[str, ...], head: int) -> TensorSizes:
    return {f"{owner}.{name}.weight": (head,) for name in names}
